package tasksync

import (
	"container/heap"
)

// ring is a first-in-first-out store. Invariant: items[head:] wait.
type ring[T any] struct {
	items []T
	head  int
}

func (r *ring[T]) len() int { return len(r.items) - r.head }

func (r *ring[T]) put(v T) {
	if r.head > 32 && r.head*2 > len(r.items) { // half is empty: move instead of growing
		n := copy(r.items, r.items[r.head:])
		clear(r.items[n:])
		r.items, r.head = r.items[:n], 0
	}
	r.items = append(r.items, v)
}

func (r *ring[T]) get() T {
	var zero T
	v := r.items[r.head]
	r.items[r.head] = zero
	if r.head++; r.head == len(r.items) {
		r.items, r.head = r.items[:0], 0
	}
	return v
}

type stack[T any] struct{ items []T }

func (s *stack[T]) len() int { return len(s.items) }

func (s *stack[T]) put(v T) { s.items = append(s.items, v) }

func (s *stack[T]) get() T {
	var zero T
	last := len(s.items) - 1
	v := s.items[last]
	s.items[last] = zero
	s.items = s.items[:last]
	return v
}

// ranked is a heap; seq keeps equal items in order.
type ranked[T any] struct {
	less  func(a, b T) bool
	items []rankedItem[T]
	next  uint64
}

type rankedItem[T any] struct {
	v   T
	seq uint64
}

func (r *ranked[T]) len() int { return len(r.items) }

func (r *ranked[T]) put(v T) {
	r.next++
	heap.Push((*rankedHeap[T])(r), rankedItem[T]{v, r.next})
}

func (r *ranked[T]) get() T { return heap.Pop((*rankedHeap[T])(r)).(rankedItem[T]).v }

// rankedHeap is ranked as container/heap sees it.
type rankedHeap[T any] ranked[T]

func (h *rankedHeap[T]) Len() int { return len(h.items) }

func (h *rankedHeap[T]) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	switch {
	case h.less(a.v, b.v):
		return true
	case h.less(b.v, a.v):
		return false
	}
	return a.seq < b.seq
}

func (h *rankedHeap[T]) Swap(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] }

func (h *rankedHeap[T]) Push(v any) { h.items = append(h.items, v.(rankedItem[T])) }

func (h *rankedHeap[T]) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = rankedItem[T]{}
	h.items = h.items[:last]
	return it
}
