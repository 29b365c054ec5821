package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// samples has one frame of every kind with every field of that kind set.
func samples() []Frame {
	from := Frame{From: "n1", FromNumber: 1 << 63}
	with := func(kind Kind, set func(f *Frame)) Frame {
		f := from
		f.Kind, f.ID = kind, 42
		if set != nil {
			set(&f)
		}
		return f
	}
	return []Frame{
		with(Call, func(f *Frame) {
			f.Incarnation, f.Path, f.Function = 7, "io-0", "math.add"
			f.Codec, f.Remaining, f.Payload = JSON, time.Second, []byte(`{"A":1}`)
		}),
		with(Call, func(f *Frame) {
			f.Incarnation, f.Path, f.Function = 7, "io-0", "math.add"
			f.Codec, f.Remaining, f.Payload = JSON, time.Second, []byte(`{"A":1}`)
			f.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		}),
		with(Cast, func(f *Frame) {
			f.Flow, f.At = 3, Amount{300, 1 << 40}
			f.Path, f.Function, f.Op, f.Codec, f.When, f.Payload = "io-0", "tick", At, Raw, -5, []byte{0}
		}),
		{Kind: Result, ID: 1, Codec: JSON, Payload: []byte("3")},
		{Kind: Error, ID: math.MaxUint64, Code: UnknownLoop, Sentinel: "io.EOF", Message: "no loop"},
		with(Cancel, nil), with(Ping, nil), with(Pong, nil), with(Goodbye, nil),
		with(Watch, func(f *Frame) { f.Incarnation, f.Loop, f.Path = 9, 2, "io-0/srv:7000/c42" }),
		with(Unwatch, nil),
		with(Terminated, func(f *Frame) { f.Code, f.Message = NodeDown, "gone" }),
		with(TransportOp, func(f *Frame) { f.Path, f.Op, f.Remaining, f.Payload = "a/b", Write, 1, []byte("hi") }),
		with(Tell, func(f *Frame) {
			f.Incarnation, f.Path, f.Function, f.Codec, f.Payload = 9, "clock", "clock.tick", JSON, []byte("{}")
			f.Code, f.Sentinel, f.Message, f.Sender = User, "io.EOF", "no more", "n1@7/asker"
		}),
		with(CancelAll, nil), with(Probe, nil), with(Claim, func(f *Frame) { f.Standing = Announced | Held }), with(Refuse, nil), with(Ask, nil), with(Watching, nil),
		with(Credit, func(f *Frame) {
			f.Flow, f.At, f.Window, f.Lost, f.Refused = 3, Amount{300, 4}, Amount{512, 1 << 20}, 7, 1<<64-1
			f.Code, f.Message = UnknownLoop, "no loop"
		}),
		with(Sync, func(f *Frame) { f.Path, f.Flow, f.At = "io-0", 3, Amount{1, 2} }),
		with(EndFlow, func(f *Frame) { f.Flow = 3 }),
		with(Stream, func(f *Frame) {
			f.Incarnation, f.Path, f.Op, f.Remaining, f.Flow, f.At, f.Payload = 9, "io-0/transports/1", End, time.Second, 4, Amount{2, 1 << 30}, []byte("bytes")
		}),
		with(Taken, func(f *Frame) { f.Flow, f.At, f.Code, f.Message = 4, Amount{0, 1 << 30}, Lost, "a gap" }),
		with(Publish, func(f *Frame) {
			f.Function, f.Codec, f.Flow, f.At, f.Payload = "room.7", CBOR, 5, Amount{Messages: 300}, []byte{0xf6}
		}),
		{Kind: Batch, Payload: (&Frame{Kind: Result, ID: 1, Codec: JSON, Payload: []byte("3")}).AppendInBatch(nil)},
	}
}

func TestEveryKindSurvivesTheRoundTrip(t *testing.T) {
	seen := map[Kind]bool{}
	for _, want := range samples() {
		seen[written(&want)] = true
		var got Frame
		if err := Decode(want.Append(nil), &got, nil); err != nil {
			t.Fatalf("%v: %v", want.Kind, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got %+v, want %+v", want.Kind, got, want)
		}
		if want.Kind.String() == "unknown" {
			t.Errorf("kind %d has no name", want.Kind)
		}
	}
	if all := kinds(); len(seen) != len(all) {
		t.Errorf("samples cover %d kinds of %d", len(seen), len(all))
	}
	if Kind(0).String() != "unknown" || kindEnd.String() != "unknown" {
		t.Error("a number without a kind must have no name")
	}
}

// written is the kind that travels.
func written(f *Frame) Kind { return Kind(f.Append(nil)[1]) }

// kinds are those that have a layout: numbers of kinds that are gone stay unused.
func kinds() (out []Kind) {
	for k, has := range layout {
		if has != 0 {
			out = append(out, Kind(k))
		}
	}
	return out
}

// TestRandomFramesSurviveTheRoundTrip draws fields at random; only the fields of
// a frame's kind may come back.
func TestRandomFramesSurviveTheRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	names := &Names{}
	for i := range 20_000 {
		f := randomFrame(rnd)
		var got, again Frame
		if err := Decode(f.Append(nil), &got, names); err != nil {
			t.Fatalf("frame %d %+v: %v", i, f, err)
		}
		if err := Decode(got.Append(nil), &again, nil); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, again) {
			t.Fatalf("frame %d: %+v became %+v", i, got, again)
		}
		if got.ID != f.ID || layout[f.Kind]&fPayload != 0 && !bytes.Equal(got.Payload, f.Payload) ||
			layout[f.Kind]&fPath != 0 && got.Path != f.Path || layout[f.Kind]&fWhen != 0 && got.When != f.When {
			t.Fatalf("frame %d: %+v became %+v", i, f, got)
		}
	}
}

func randomFrame(rnd *rand.Rand) Frame {
	text := func(n int) string {
		b := make([]byte, rnd.IntN(n+1))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	kind := kinds()[rnd.IntN(len(kinds()))]
	op := Op(1 + rnd.IntN(3))
	if kind == TransportOp || kind == Stream {
		op += 3
	}
	return Frame{
		Kind: kind, ID: rnd.Uint64() >> rnd.IntN(64), From: text(20), FromNumber: rnd.Uint64(),
		Incarnation: rnd.Uint64(), Loop: rnd.Uint64(), Path: text(60), Function: text(30), Op: op, Flow: rnd.Uint64() >> rnd.IntN(65), At: Amount{rnd.Uint64(), rnd.Uint64()}, Codec: Codec(rnd.Uint32()),
		Remaining: time.Duration(rnd.Int64()), When: int64(rnd.Uint64()), Code: Code(rnd.Uint32()),
		Sentinel: text(10), Message: text(100), Payload: []byte(text(300)), Sender: text(60), Standing: uint8(rnd.Uint32()), Trace: text(60),
	}
}

func TestBadInputIsRefusedByName(t *testing.T) {
	good := (&Frame{Kind: Result, ID: 1, Codec: JSON, Payload: []byte("3")}).Append(nil)
	long := func(set func(f *Frame)) []byte {
		f := Frame{Kind: Call, From: "n1", Path: "p", Function: "f", Codec: JSON}
		set(&f)
		return f.Append(nil)
	}
	overlong := bytes.Repeat([]byte{0xff}, 11)
	cases := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrShort},
		{"one byte", []byte{Version}, ErrShort},
		{"a newer version", append([]byte{99}, good[1:]...), ErrVersion},
		{"kind zero", []byte{Version, 0, 0}, ErrKind},
		{"a kind that is gone", []byte{Version, 8, 0}, ErrKind},
		{"a kind from the future", []byte{Version, byte(kindEnd), 0}, ErrKind},
		{"cut", good[:len(good)-1], ErrShort},
		{"trailing", append(bytes.Clone(good), 0), ErrTrailing},
		{"id of more than 64 bits", append([]byte{Version, byte(Result)}, overlong...), ErrValue},
		{"a length past the end", []byte{Version, byte(Result), 1, 1, 0xff, 0xff, 0xff, 0xff, 7}, ErrShort},
		{"a length past every limit", []byte{Version, byte(Result), 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 7}, ErrLimit},
		{"path above its limit", long(func(f *Frame) { f.Path = strings.Repeat("x", MaxPath+1) }), ErrLimit},
		{"function above its limit", long(func(f *Frame) { f.Function = strings.Repeat("x", MaxName+1) }), ErrLimit},
		{"an op of another kind", (&Frame{Kind: TransportOp, Path: "p", Op: Soon}).Append(nil), ErrValue},
		{"an op of streams", (&Frame{Kind: TransportOp, Path: "p", Op: Open}).Append(nil), ErrValue},
		{"an op from the future", (&Frame{Kind: Stream, Path: "p", Op: End + 1}).Append(nil), ErrValue},
		{"op zero", (&Frame{Kind: Cast, Path: "p"}).Append(nil), ErrValue},
		{"code of more than 16 bits", []byte{Version, byte(Error), 1, 0xff, 0xff, 0x7f, 0, 0}, ErrValue},
		{"a batch above its limit", append(AppendBatch(nil), make([]byte, MaxBatch+1)...), ErrLimit},
		{"negative remaining time", []byte{Version, byte(TransportOp), 1, 0, 0, 0, 0, 0, byte(Write),
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0}, ErrValue},
	}
	for _, c := range cases {
		var f Frame
		err := Decode(c.in, &f, nil)
		if !errors.Is(err, c.want) || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestErrorTextIsCutBetweenCharacters(t *testing.T) {
	f := Frame{Kind: Error, Message: strings.Repeat("x", MaxMessage-1) + "é"}
	var got Frame
	if err := Decode(f.Append(nil), &got, nil); err != nil {
		t.Fatal(err)
	}
	if len(got.Message) != MaxMessage-1 {
		t.Errorf("message of %d bytes, want %d", len(got.Message), MaxMessage-1)
	}
}

func TestCheckNamesTheFieldThatIsTooLong(t *testing.T) {
	cases := map[string]Frame{
		"node name":     {From: strings.Repeat("x", MaxName+1)},
		"path":          {Path: strings.Repeat("x", MaxPath+1)},
		"function name": {Function: strings.Repeat("x", MaxName+1)},
		"error name":    {Sentinel: strings.Repeat("x", MaxName+1)},
		"payload":       {Payload: make([]byte, 11)},
	}
	for field, f := range cases {
		err := f.Check(10)
		if !errors.Is(err, ErrLimit) || !strings.Contains(fmt.Sprint(err), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if err := (&Frame{Payload: make([]byte, 10)}).Check(10); err != nil {
		t.Error(err)
	}
}

func TestNamesAreBounded(t *testing.T) {
	names := &Names{}
	for i := range 10 * maxKnown {
		name := fmt.Sprintf("invented-%d", i)
		if got := names.intern([]byte(name), len(name)%nameFields); got != name {
			t.Fatalf("got %q", got)
		}
		if len(names.known) > maxKnown || names.bytes > maxKnownBytes {
			t.Fatalf("%d names, %d bytes", len(names.known), names.bytes)
		}
	}
	names.intern(bytes.Repeat([]byte("x"), MaxPath), 1)
	if names.bytes > maxKnownBytes {
		t.Errorf("%d bytes", names.bytes)
	}
}

func TestEncodingAndDecodingAllocateNothing(t *testing.T) {
	f := samples()[0]
	buf := make([]byte, 0, 512)
	names := &Names{}
	var out Frame
	if n := testing.AllocsPerRun(100, func() { buf = f.Append(buf[:0]) }); n != 0 {
		t.Errorf("Append: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := Decode(buf, &out, names); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Decode with known names: %v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		b := s.Append(nil)
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(append(bytes.Clone(b), 1, 2, 3))
	}
	f.Add([]byte{99, 1, 1})
	f.Add([]byte{Version, byte(Result), 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	names := &Names{}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again Frame
		if err := Decode(b, &got, names); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if len(got.Payload) > len(b) {
			t.Fatalf("payload of %d bytes out of %d", len(got.Payload), len(b))
		}
		if err := Decode(got.Append(nil), &again, nil); err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if !reflect.DeepEqual(got, again) {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	f, buf := samples()[0], make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	f, names := samples()[0], &Names{}
	buf := f.Append(nil)
	var out Frame
	b.ReportAllocs()
	for b.Loop() {
		if err := Decode(buf, &out, names); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAHeadAndItsPayloadAreAFrame(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 70_000} {
		f := Frame{Kind: Stream, Op: Write, From: "n1", FromNumber: 7, Incarnation: 9, Flow: 3, At: Amount{5, 1 << 40}}
		payload := bytes.Repeat([]byte("x"), size)
		got := append(f.AppendHead(nil, size), payload...)
		f.Payload = payload
		if want := f.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %x, want %x", size, got[:40], want[:40])
		}
	}
}
