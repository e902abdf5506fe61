package flow

import (
	"math"
	"slices"
)

// Bounds of what a receiver holds for its turn.
const (
	MaxHeld      = 1024
	MaxHeldBytes = 4 << 20
)

// held are the messages of a flow that came early, in the order of their
// numbers. They come almost in that order, so a sorted slice is enough.
type held struct {
	items []heldItem
	bytes int
}

type heldItem struct {
	seq  uint64
	size int
	item any
}

// first returns the lowest number that is held, or one beyond all numbers.
func (h *held) first() uint64 {
	if len(h.items) == 0 {
		return math.MaxUint64
	}
	return h.items[0].seq
}

func (h *held) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(h.items, seq, func(it heldItem, seq uint64) int {
		switch {
		case it.seq < seq:
			return -1
		case it.seq > seq:
			return 1
		}
		return 0
	})
}

func (h *held) has(seq uint64) bool {
	if len(h.items) == 0 {
		return false
	}
	_, ok := h.find(seq)
	return ok
}

// add keeps an item; false: a bound is reached, or the number is there.
func (h *held) add(seq uint64, size int, item any) bool {
	size = max(size, 0)
	if len(h.items) >= MaxHeld || size > MaxHeldBytes-h.bytes {
		return false
	}
	i, ok := h.find(seq)
	if ok {
		return false
	}
	h.items = slices.Insert(h.items, i, heldItem{seq, size, item})
	h.bytes += size
	return true
}

// pop takes the first item. The memory goes with the last one.
func (h *held) pop() any {
	it := h.items[0]
	h.items[0] = heldItem{}
	h.items = h.items[1:]
	h.bytes -= it.size
	if len(h.items) == 0 {
		h.items = nil
	}
	return it.item
}
