package durable

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/loopnode"
)

// order is what the commands of one key did, in order.
var order = struct {
	sync.Mutex
	by map[string][]int
}{by: map[string][]int{}}

type step struct {
	Key    string
	Number int
	Fail   int // how many attempts fail
}

var ordered = cluster.Func("durable.ordered", func(ctx context.Context, in step) (struct{}, error) {
	run, _ := RunOf(ctx)
	if run.Attempt <= in.Fail {
		return struct{}{}, fmt.Errorf("attempt %d fails", run.Attempt)
	}
	order.Lock()
	defer order.Unlock()
	order.by[in.Key] = append(order.by[in.Key], in.Number)
	return struct{}{}, nil
})

func numbers(key string) []int {
	order.Lock()
	defer order.Unlock()
	return append([]int(nil), order.by[key]...)
}

func working(t testing.TB, n *cluster.Node, queue string, loop loopnode.Ref) *Server {
	t.Helper()
	s, err := Work(n, queue, loop)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCommandsRunInTheOrderOfTheirKey(t *testing.T) {
	a := stored(t)
	ref, ctx := newLoop(t, a), testCtx(t)
	const count = 30
	for i := range count {
		for _, key := range []string{"x", "y", "z"} {
			in := step{Key: t.Name() + key, Number: i}
			if key == "x" && i == 3 {
				in.Fail = 1
			}
			if err := Send(ctx, a, "q", fmt.Sprint(key, i), ordered, in, Key(key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := working(t, a, "q", ref)
	until(t, "all ran", func() bool { return s.Stats().Ran == 3*count })
	for _, key := range []string{"x", "y", "z"} {
		for i, n := range numbers(t.Name() + key) {
			if i != n {
				t.Fatalf("key %s ran in the order %v", key, numbers(t.Name()+key))
			}
		}
	}
	if s.Stats().Failed != 1 {
		t.Errorf("%+v", s.Stats())
	}
	until(t, "none is left", func() bool { list, err := Commands(ctx, a, ""); return err == nil && len(list) == 0 })
}

func TestACommandIsStoredOnce(t *testing.T) {
	a := stored(t)
	ref, ctx, key := newLoop(t, a), testCtx(t), t.Name()
	for range 3 {
		if err := Send(ctx, a, "q", "one", note, key); err != nil {
			t.Fatal(err)
		}
	}
	wantIs(t, Send(ctx, a, "q", "one", note, "else"), ErrExists, "another command")
	list, err := Commands(ctx, a, "q")
	if err != nil || len(list) != 1 || list[0].Function != "durable.note" || list[0].State != Pending {
		t.Fatalf("%+v, %v", list, err)
	}
	s := working(t, a, "q", ref)
	until(t, "it ran", func() bool { return s.Stats().Ran == 1 })
	until(t, "it is gone", func() bool { list, err := Commands(ctx, a, "q"); return err == nil && len(list) == 0 })
	if err := Send(ctx, a, "q", "one", note, key); err != nil {
		t.Error("the same after it ran:", err)
	}
	wantIs(t, Send(ctx, a, "q", "one", note, "else"), ErrExists)
	if err := Send(ctx, a, "q", "two", note, key); err != nil {
		t.Fatal(err)
	}
	until(t, "the second one ran", func() bool { return s.Stats().Ran == 2 })
	if runs := book.of(key); len(runs) != 2 || runs[0].ID != "one" || runs[1].ID != "two" || runs[0].Token == 0 {
		t.Errorf("%+v", runs)
	}
}

func TestDeadLetters(t *testing.T) {
	a := stored(t)
	ref, ctx, key := newLoop(t, a), testCtx(t), t.Name()
	if err := Send(ctx, a, "q", "bad", hopeless, key, Redeliver(1), Key("k")); err != nil {
		t.Fatal(err)
	}
	if err := Send(ctx, a, "q", "good", note, key+"good", Key("k")); err != nil {
		t.Fatal(err)
	}
	s := working(t, a, "q", ref)
	until(t, "what is behind the dead one runs", func() bool { return len(book.of(key+"good")) == 1 })
	dead, err := DeadLetters(ctx, a, "")
	if err != nil || len(dead) != 1 || dead[0].ID != "bad" || dead[0].Attempts != 1 || !strings.Contains(dead[0].Error, "hopeless") || dead[0].State != Dead {
		t.Fatalf("%+v, %v", dead, err)
	}
	wantIs(t, Send(ctx, a, "q", "bad", hopeless, key, Key("k")), ErrExists, "dead letter")
	wantIs(t, Requeue(ctx, a, "q", "good"), ErrNotFound)
	wantIs(t, Requeue(ctx, a, "q", "nobody"), ErrNotFound)
	if err := Requeue(ctx, a, "q", "bad"); err != nil {
		t.Fatal(err)
	}
	until(t, "it ran again", func() bool { return len(book.of(key)) == 2 && s.Stats().Dead == 2 })
	until(t, "it is dead again", func() bool { dead, err = DeadLetters(ctx, a, "q"); return err == nil && len(dead) == 1 })
}

func TestTheNextOwnerWorksOn(t *testing.T) {
	a := stored(t)
	b, c := beside(t, "b", a), beside(t, "c", a)
	ctx, key := testCtx(t), t.Name()
	first := working(t, b, "q", newLoop(t, b))
	until(t, "b owns it", func() bool { return first.Stats().Owner })
	second := working(t, c, "q", newLoop(t, c))
	const count = 300
	for i := range count {
		if err := Send(ctx, a, "q", fmt.Sprint(i), ordered, step{Key: fmt.Sprint(key, i%7), Number: i}, Key(fmt.Sprint(i%7))); err != nil {
			t.Fatal(err)
		}
		if i == count/2 {
			b.Close()
		}
	}
	until(t, "all ran", func() bool {
		sum := 0
		for k := range 7 {
			sum += len(numbers(fmt.Sprint(key, k)))
		}
		return sum >= count
	})
	until(t, "none is left", func() bool { list, err := Commands(ctx, a, "q"); return err == nil && len(list) == 0 })
	until(t, "c owns it", func() bool { return second.Stats().Owner })
	for k := range 7 {
		last := -1
		for _, n := range numbers(fmt.Sprint(key, k)) {
			if n < last {
				t.Errorf("key %d: %v", k, numbers(fmt.Sprint(key, k)))
				break
			}
			last = n
		}
	}
}

func TestWhatAQueueRefuses(t *testing.T) {
	a := stored(t)
	ref, ctx := newLoop(t, a), testCtx(t)
	var none context.Context
	wantIs(t, Send(none, a, "q", "x", note, ""), cluster.ErrConfig)
	wantIs(t, Send(ctx, a, "", "x", note, ""), ErrBadID)
	wantIs(t, Send(ctx, a, "q", "", note, ""), ErrBadID)
	wantIs(t, Send(ctx, a, "q", "x", note, "", Redeliver(0)), cluster.ErrConfig, "Redeliver(0)")
	wantIs(t, Send(ctx, a, "q", "x", note, "", Key(strings.Repeat("k", 200))), cluster.ErrConfig, "key")
	wantIs(t, Send(ctx, a, "q", "x", note, strings.Repeat("x", 2<<20)), cluster.ErrTooLarge)
	wantIs(t, Requeue(ctx, a, "", "x"), ErrBadID)
	_, err := Work(a, "a\nb", ref)
	wantIs(t, err, ErrBadID)
	_, err = Commands(none, a, "")
	wantIs(t, err, cluster.ErrConfig)

	store := records.WorkOf(a.Inside(inside.Key{}))
	for i, garbage := range []string{"", "{", `{"v":9}`, "\x00"} {
		if _, err := store.PutBeside(ctx, commandSubject("q", fmt.Sprint(i)), endSubject("q", fmt.Sprint(i)), []byte(garbage), 0); err != nil {
			t.Fatal(err)
		}
	}
	s := working(t, a, "q", ref)
	if err := Send(ctx, a, "q", "good", note, t.Name()); err != nil {
		t.Fatal(err)
	}
	until(t, "what can be read runs", func() bool { return s.Stats().Ran == 1 && s.Stats().Garbage == 4 })
}

func TestWithoutTheServerItEndsInTime(t *testing.T) {
	a := stored(t)
	b := beside(t, "b", a)
	ctx := testCtx(t)
	if err := Send(ctx, b, "q", "x", note, t.Name()); err != nil {
		t.Fatal(err)
	}
	a.Close()
	begin := time.Now()
	err := Send(ctx, b, "q", "y", note, t.Name())
	wantIs(t, err, cluster.ErrNoQuorum)
	if took := time.Since(begin); took > 20*time.Second { // the limit of an operation is five, that of ctx a minute
		t.Errorf("it took %v", took)
	}
}
