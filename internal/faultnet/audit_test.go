//go:build linux

package faultnet

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ranges against sets of numbers.
func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	some := func() (list [][2]uint64, set map[uint64]bool) {
		set = make(map[uint64]bool)
		for range r.IntN(6) {
			from := r.Uint64N(40)
			to := from + r.Uint64N(10)
			list = append(list, [2]uint64{from, to})
			for i := from; i < to; i++ {
				set[i] = true
			}
		}
		return list, set
	}
	is := func(want func(uint64) bool, got ranges) {
		t.Helper()
		n := uint64(0)
		for i := range uint64(60) {
			in := false
			for _, x := range got {
				in = in || x[0] <= i && i < x[1]
			}
			require.Equal(t, want(i), in, "%d in %v", i, got)
			if in {
				n++
			}
		}
		require.Equal(t, n, got.count())
	}
	for range 2000 {
		a, inA := some()
		b, inB := some()
		is(func(i uint64) bool { return inA[i] }, rangesOf(a))
		is(func(i uint64) bool { return inA[i] && !inB[i] }, rangesOf(a).without(rangesOf(b)))
		is(func(i uint64) bool { return inA[i] && inB[i] }, rangesOf(a).both(rangesOf(b)))
	}
}

// A ledger that is read back is what was booked, and the audit finds what is
// wrong in it.
func TestAudit(t *testing.T) {
	const a, b, b2 = 1, 2, 3 // lives
	for _, k := range []struct {
		name  string
		book  func(a, b, b2 *ledger)
		check func(t *testing.T, x Accounts)
	}{
		{"all is well", func(la, lb, lb2 *ledger) {
			la.add(entrySent, "b", 0, 0, 10)
			for i := range uint64(10) {
				lb.got("a", a, i)
			}
		}, func(t *testing.T, x Accounts) {
			require.Equal(t, Accounts{Sent: 10, Delivered: 10, Lives: 3}, x)
		}},
		{"over two lives, with losses that were told", func(la, lb, lb2 *ledger) {
			la.add(entrySent, "b", 0, 0, 10)
			lb.got("a", a, 0)
			lb2.got("a", a, 5)
			lb2.got("a", a, 6)
			la.add(entryRefused, "b", 0, 4, 5)
			lb2.add(entryReturned, "a", a, 9, 10)
			la.add(entryLost, "b", 0, 100, 105)
		}, func(t *testing.T, x Accounts) {
			require.Equal(t, Accounts{Sent: 10, Delivered: 3, Undelivered: 2, Missing: 5, PossiblyLost: 5, Lives: 3}, x)
		}},
		{"more are missing than were told", func(la, lb, lb2 *ledger) {
			la.add(entrySent, "b", 0, 0, 10)
			la.add(entryLost, "b", 0, 0, 9)
		}, func(t *testing.T, x Accounts) { require.Len(t, x.Violations, 1) }},
		{"twice, in two lives", func(la, lb, lb2 *ledger) {
			la.add(entrySent, "b", 0, 0, 1)
			lb.got("a", a, 0)
			lb2.got("a", a, 0)
		}, func(t *testing.T, x Accounts) {
			require.EqualValues(t, 1, x.Duplicates)
			require.Len(t, x.Violations, 1)
		}},
		{"out of order", func(la, lb, lb2 *ledger) {
			la.add(entrySent, "b", 0, 0, 3)
			lb.got("a", a, 0)
			lb.got("a", a, 2)
			lb.got("a", a, 1)
		}, func(t *testing.T, x Accounts) { require.EqualValues(t, 1, x.Disorder) }},
		{"delivered and told to be undelivered; never sent", func(la, lb, lb2 *ledger) {
			la.add(entrySent, "b", 0, 0, 1)
			lb.got("a", a, 0)
			la.add(entryRefused, "b", 0, 0, 1)
			lb.got("a", a, 7)
		}, func(t *testing.T, x Accounts) { require.Len(t, x.Violations, 2) }},
	} {
		t.Run(k.name, func(t *testing.T) {
			dir := t.TempDir()
			var books []*ledger
			for i, name := range []string{"a", "b", "b"} {
				l, err := openLedger(dir, name, uint64(i+1))
				require.NoError(t, err)
				defer l.file.Close()
				books = append(books, l)
			}
			k.book(books[0], books[1], books[2])
			x, err := Audit(dir, func(string, uint64) bool { return false })
			require.NoError(t, err)
			k.check(t, x)
			x, err = Audit(dir, func(string, uint64) bool { return true })
			require.NoError(t, err)
			require.Zero(t, x.Missing)
		})
	}
}
