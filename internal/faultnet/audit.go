//go:build linux

package faultnet

import (
	"fmt"
	"slices"
)

// Accounts are the sums of all ledgers.
type Accounts struct {
	Sent         uint64 // by all lives
	Delivered    uint64
	Undelivered  uint64 // told as dead letters, at either end
	Missing      uint64 // of senders that lived on: neither delivered nor undelivered
	PossiblyLost uint64 // reported by those senders
	Unaudited    uint64 // neither delivered nor undelivered, of senders that were killed, whose reports ended with them
	Duplicates   uint64
	Disorder     uint64
	Lives        int
	Violations   []string
}

// Audit reads the ledgers of a directory. The lives for which ended returns
// true were killed: what they would still have reported is not known, so that
// of their messages only order and duplicates are judged. All others must have
// come to rest: each of their messages is delivered, undelivered, or one of as
// many as PossiblyLost tells.
func Audit(dir string, ended func(node string, life uint64) bool) (a Accounts, err error) {
	books, err := readBooks(dir)
	if err != nil {
		return a, err
	}
	type way struct {
		from string
		life uint64
		to   string
	}
	type account struct {
		sent, got, undelivered [][2]uint64
		lost                   uint64
	}
	all := make(map[way]*account)
	var order []way
	of := func(w way) *account {
		if all[w] == nil {
			all[w] = &account{}
			order = append(order, w)
		}
		return all[w]
	}
	violate := func(format string, args ...any) { a.Violations = append(a.Violations, fmt.Sprintf(format, args...)) }
	a.Lives = len(books)
	for _, b := range books {
		for _, e := range b.entries {
			span := [2]uint64{e.from, e.to}
			switch e.kind {
			case entrySent:
				x := of(way{b.node, b.life, e.peer})
				x.sent = append(x.sent, span)
			case entryGot:
				x := of(way{e.peer, e.life, b.node})
				x.got = append(x.got, span)
			case entryRefused:
				x := of(way{b.node, b.life, e.peer})
				x.undelivered = append(x.undelivered, span)
			case entryReturned:
				x := of(way{e.peer, e.life, b.node})
				x.undelivered = append(x.undelivered, span)
			case entryLost:
				of(way{b.node, b.life, e.peer}).lost += e.to - e.from
			case entryDisorder:
				a.Disorder++
				violate("%s got %d of %s, life %d, after later ones", b.node, e.from, e.peer, e.life)
			default:
				return a, fmt.Errorf("faultnet: the ledger of %s has an entry of kind %d", b.node, e.kind)
			}
		}
	}
	for _, w := range order {
		x := all[w]
		name := fmt.Sprintf("from %s, life %d, to %s", w.from, w.life, w.to)
		sent, got, un := rangesOf(x.sent), rangesOf(x.got), rangesOf(x.undelivered)
		raw := uint64(0)
		for _, g := range x.got {
			raw += g[1] - g[0]
		}
		if twice := raw - got.count(); twice > 0 {
			a.Duplicates += twice
			violate("%d messages %s came twice", twice, name)
		}
		if forged := got.without(sent); len(forged) > 0 {
			violate("messages %v %s came and were not sent", forged, name)
		}
		if odd := got.both(un); len(odd) > 0 {
			violate("messages %v %s were delivered and told to be undelivered", odd, name)
		}
		missing := sent.without(got).without(un)
		a.Sent += sent.count()
		a.Delivered += got.count()
		a.Undelivered += un.count()
		if ended(w.from, w.life) {
			a.Unaudited += missing.count()
			continue
		}
		a.Missing += missing.count()
		a.PossiblyLost += x.lost
		if missing.count() > x.lost {
			violate("%d messages %s are missing, %v, and %d were told to be possibly lost", missing.count(), name, missing, x.lost)
		}
	}
	slices.Sort(a.Violations)
	return a, nil
}
