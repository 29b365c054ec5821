package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// coin writes itself as JSON only.
type coin struct{ cents int }

func (c coin) MarshalJSON() ([]byte, error)  { return json.Marshal(c.cents) }
func (c *coin) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &c.cents) }
func (p purse) total() int                   { return p.Coins[0].cents }
func again[T any](t *testing.T, v T) (T, wire.Codec) {
	t.Helper()
	form, b, err := Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode[T](form, b)
	if err != nil {
		t.Fatalf("%T as %d: %v", v, form, err)
	}
	return out, form
}

type purse struct{ Coins []coin }

type chain struct {
	Name string `json:"n"`
	Next *chain
}

type order struct {
	ID    int64
	Note  string `json:"note,omitempty"`
	Raw   json.RawMessage
	Body  []byte
	At    time.Time
	Host  netip.Addr
	Rates map[string]float64
	Any   any
	Chain *chain
	skip  int
}

func check[T any](t *testing.T, v T, form wire.Codec) {
	t.Helper()
	got, as := again(t, v)
	if !reflect.DeepEqual(got, v) || as != form {
		t.Errorf("%T as %d: %+v became %+v", v, as, v, got)
	}
	checkForm(t, v)
}

// checkForm compares the two ways to write v. Why sorted bytes: the entries of a map are
// written in any order.
func checkForm[T any](t *testing.T, v T) {
	t.Helper()
	want, have, err := Encode(v)
	var buf bytes.Buffer
	as, b, other := FormOf[T]().Encode(&v, &buf)
	if as != want || !bytes.Equal(sorted(b), sorted(have)) || (err == nil) != (other == nil) {
		t.Errorf("%T: %x as %d, %v; with its Form %x as %d, %v", v, have, want, err, b, as, other)
	}
}

func sorted(b []byte) []byte { b = bytes.Clone(b); slices.Sort(b); return b }

func TestAFormWritesTheSame(t *testing.T) {
	checkForm[*chain](t, nil)
	checkForm(t, &chain{Name: "a"})
	checkForm(t, wrapperspb.String("hello"))
	checkForm[proto.Message](t, wrapperspb.String("hello"))
	checkForm(t, make(chan int))
	checkForm(t, netip.MustParseAddr("10.0.0.1"))
	checkForm(t, *big.NewInt(1))
	checkForm(t, json.RawMessage(`{}`))
	checkForm(t, struct{ A, B *coin }{})
	checkForm(t, [2]any{1, "x"})
	checkForm(t, time.Unix(1, 2))
	f, v, buf := FormOf[order](), &order{ID: 1}, &bytes.Buffer{}
	if _, _, err := f.Encode(v, buf); err != nil {
		t.Error(err)
	}
	type sum struct{ A, B int }
	g, w := FormOf[sum](), &sum{1, 2}
	if n := testing.AllocsPerRun(100, func() { buf.Reset(); _, _, _ = g.Encode(w, buf) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValuesSurviveTheWay(t *testing.T) {
	check(t, []byte("bytes"), wire.Raw)
	check[any](t, []byte("bytes"), wire.Raw)
	check(t, 7, wire.CBOR)
	check(t, struct{}{}, wire.CBOR)
	check(t, int64(math.MaxInt64), wire.CBOR)
	check(t, uint64(math.MaxUint64), wire.CBOR)
	check(t, "not UTF-8: \xff", wire.CBOR)
	check(t, make([]int, 300_000), wire.CBOR) // more than the decoder takes by itself
	check[[]byte](t, nil, wire.Raw)
	check[any](t, nil, wire.CBOR)
	check[any](t, map[string]any{"n": int64(1), "b": []byte{0}, "l": []any{"x", true, 1.5, nil}}, wire.CBOR)
	check[any](t, new(big.Int).SetUint64(math.MaxUint64), wire.CBOR)
	check(t, purse{[]coin{{1}, {2}}}, wire.JSON)
	check(t, &purse{[]coin{{1}, {2}}}, wire.JSON)
	check(t, map[int]purse{1: {[]coin{{3}}}}, wire.JSON)
	check(t, order{
		ID: math.MinInt64, Note: "n", Raw: json.RawMessage(`{"a":1}`), Body: []byte{1, 0}, At: time.Date(2026, 2, 3, 4, 5, 6, 789_012_345, time.UTC),
		Host: netip.MustParseAddr("10.0.0.1"), Rates: map[string]float64{"x": math.Inf(1)}, Any: []byte("x"), Chain: &chain{"a", &chain{"b", nil}},
	}, wire.CBOR)
	if f, _ := again(t, math.NaN()); !math.IsNaN(f) {
		t.Errorf("NaN became %v", f)
	}
	if v, _ := again(t, order{skip: 1}); v.skip != 0 {
		t.Error("a field that is not exported has travelled")
	}
	if v, form := again[any](t, purse{[]coin{{5}}}); form != wire.JSON || !reflect.DeepEqual(v, map[string]any{"Coins": []any{5.0}}) {
		t.Errorf("a value in an any that writes itself as JSON: %v as %d", v, form)
	}
	now := time.Now()
	if at, _ := again[any](t, now); !now.Equal(at.(time.Time)) {
		t.Errorf("%v became %v", now, at)
	}
	if p, _ := again(t, purse{[]coin{{4}}}); p.total() != 4 {
		t.Error(p)
	}
}

func TestProtobufMessagesTravelAsTheyAre(t *testing.T) {
	m := wrapperspb.String("hello")
	got, form := again(t, m)
	if !proto.Equal(got, m) || form != wire.Proto {
		t.Errorf("%v as %d", got, form)
	}
	form, b, err := EncodeFor(wire.JSON, m)
	if form != wire.JSON || string(b) != `"hello"` || err != nil {
		t.Fatalf("%s as %d, %v", b, form, err)
	}
	if got, err := Decode[*wrapperspb.StringValue](wire.JSON, b); err != nil || !proto.Equal(got, m) {
		t.Errorf("%v, %v", got, err)
	}
	_, err = Decode[order](wire.Proto, b)
	wantBad(t, err)
	_, err = Decode[*wrapperspb.StringValue](wire.Proto, []byte{0xff})
	wantBad(t, err)
}

func wantBad(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, fault.ErrBadPayload) {
		t.Errorf("got %v, want %v", err, fault.ErrBadPayload)
	}
}

func TestWhoAsksInJSONIsAnsweredInIt(t *testing.T) {
	form, b, err := EncodeFor(wire.JSON, order{ID: 1})
	if err != nil || form != wire.JSON || !json.Valid(b) {
		t.Fatalf("%s as %d, %v", b, form, err)
	}
	if v, err := Decode[order](wire.JSON, []byte(`{"ID":3,"note":"x","later":1}`)); v.ID != 3 || v.Note != "x" || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestTypesMayChangeByTheRules(t *testing.T) {
	type before struct {
		ID   int32
		Gone string
		Same *int
	}
	type after struct {
		ID   int64
		New  []string
		Same int
	}
	n := 5
	for _, encode := range []func(any) (wire.Codec, []byte, error){Encode[any], func(v any) (wire.Codec, []byte, error) { return EncodeFor(wire.JSON, v) }} {
		form, b, err := encode(before{7, "x", &n})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Decode[after](form, b); v.ID != 7 || v.Same != 5 || v.New != nil || err != nil {
			t.Errorf("form %d: %+v, %v", form, v, err)
		}
		form, b, err = encode(after{7, []string{"new"}, 5})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Decode[before](form, b); v.ID != 7 || *v.Same != 5 || v.Gone != "" || err != nil {
			t.Errorf("form %d: %+v, %v", form, v, err)
		}
		_, err = Decode[struct{ ID string }](form, b)
		wantBad(t, err)
		form, b, _ = encode(after{ID: math.MaxInt64})
		_, err = Decode[before](form, b)
		wantBad(t, err)
	}
}

func TestBadPayloadsAreRefused(t *testing.T) {
	for _, c := range []struct {
		form wire.Codec
		b    string
	}{{wire.CBOR, ""}, {wire.CBOR, "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"}, {wire.CBOR, "\xa1"}, {wire.JSON, "{"}, {wire.Raw, "x"}, {99, "x"}, {0, ""}} {
		_, err := Decode[order](c.form, []byte(c.b))
		wantBad(t, err)
	}
	_, _, err := Encode(make(chan int))
	wantBad(t, err)
}

func TestAValueThatContainsItselfIsRefused(t *testing.T) {
	type deep *deep
	type tree struct {
		Parent *tree `json:"-"`
		Kids   []*tree
	}
	c := &chain{Name: "a"}
	c.Next = c
	m := map[string]any{}
	m["m"] = m
	l := []any{nil}
	l[0] = l
	var d deep
	d = &d
	for _, v := range []any{c, *c, order{Chain: c}, order{Any: c}, m, l, d, []*chain{c}, map[int]any{1: m}} {
		_, _, err := Encode(v)
		wantBad(t, err)
	}
	_, _, err := Encode(c)
	wantBad(t, err)
	_, _, err = FormOf[*chain]().Encode(&c, &bytes.Buffer{})
	wantBad(t, err)
	var long *chain
	for range 255 { // as many as a reader takes
		long = &chain{Next: long}
	}
	check(t, long, wire.CBOR)
	root := &tree{}
	root.Kids = []*tree{{Parent: root}} // a field that is not written
	if _, _, err := Encode(root); err != nil {
		t.Error(err)
	}
	for typ, want := range map[reflect.Type]bool{
		reflect.TypeFor[chain](): true, reflect.TypeFor[order](): true, reflect.TypeFor[tree](): true, reflect.TypeFor[any](): true,
		reflect.TypeFor[coin](): false, reflect.TypeFor[time.Time](): false, reflect.TypeFor[struct{ A, B []map[string]int }](): false,
		reflect.TypeFor[struct{ A, B *coin }](): false,
	} {
		if mayLoop(typ) != want {
			t.Errorf("%v: %v", typ, !want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, b, _ := Encode(order{ID: 1, Body: []byte("x"), Any: map[string]any{"a": int64(1)}})
	f.Add(uint8(wire.CBOR), b)
	f.Add(uint8(wire.JSON), []byte(`{"ID":1}`))
	f.Fuzz(func(t *testing.T, form uint8, b []byte) {
		if v, err := Decode[order](wire.Codec(form), b); err == nil {
			if _, _, err := Encode(v); err != nil && v.Raw == nil {
				t.Errorf("%+v cannot be written again: %v", v, err)
			}
		}
		_, _ = Decode[any](wire.Codec(form), b) // only that it ends
	})
}

func BenchmarkEncode(b *testing.B) {
	type sum struct{ A, B int }
	for name, form := range map[string]wire.Codec{"CBOR": wire.CBOR, "JSON": wire.JSON} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				as, p, err := EncodeFor(form, sum{1, 2})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Decode[sum](as, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
