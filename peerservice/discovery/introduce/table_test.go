package introduce

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// Whatever sources, member lists and calls do, in whatever order: calls are
// bounded, nobody is dialed who is not to be, no member is pruned whom a source
// still names or whose sources failed, and the same run twice is the same.
func FuzzTable(f *testing.F) {
	f.Add(uint64(1), []byte{0, 7, 1, 3, 2, 2, 2, 3, 200, 4, 0, 9, 1, 255})
	f.Add(uint64(7), []byte{0, 31, 5, 1, 0, 31, 2, 2, 0, 30, 3, 3, 9, 4, 1, 40, 2})
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		require.Equal(t, play(t, seed, script), play(t, seed, script))
	})
}

func play(t *testing.T, seed uint64, script []byte) (log []string) {
	cfg := Config{
		Strategies: []discovery.Strategy{source1{}, source1{}},
		Self:       discovery.Self{Name: "n0", Addrs: []string{"n0:1"}},
		Prune:      PruneAfter(time.Minute), Dials: 2,
	}
	tb := newTable(cfg, rand.New(rand.NewPCG(seed, seed)))
	now := time.Unix(1000, 0)
	named := [2]map[string]bool{{}, {}} // by the last whole answers, and what others added
	calls := map[string]bool{}
	for i := 0; i+1 < len(script); i += 2 {
		op, arg := script[i]%6, script[i+1]
		switch op {
		case 0, 1: // source 0 or 1 speaks
			s := discovery.Snapshot{Partial: arg&0x40 != 0}
			if arg&0x80 != 0 {
				s.Err = errors.New("down")
			}
			for n := range 5 {
				if arg&(1<<n) != 0 {
					s.Candidates = append(s.Candidates, discovery.Candidate{Addr: fmt.Sprintf("n%d:1", n), Terminating: n == 4 && arg&0x20 != 0})
				}
			}
			if s.OK() && len(s.Candidates) > 0 {
				clear(named[op])
			}
			for _, c := range s.Candidates {
				named[op][c.Addr] = true
			}
			tb.hear(now, int(op), s)
		case 2:
			var list []Member
			for n := range 5 {
				if arg&(1<<n) != 0 {
					list = append(list, Member{Name: fmt.Sprintf("n%d", n), Addrs: []string{fmt.Sprintf("n%d:1", n)}, Left: n == 3 && arg&0x80 != 0})
				}
			}
			tb.members(now, list)
		case 3:
			addr, again := tb.pick(now)
			if addr != "" {
				require.False(t, calls[addr], "one call at a time")
				require.True(t, named[0][addr] || named[1][addr])
				require.NotEqual(t, "n0:1", addr)
				m, member := tb.byAddr[addr]
				require.False(t, member && !m.Left)
				require.False(t, tb.entries[addr].Terminating)
				calls[addr] = true
				require.LessOrEqual(t, len(calls), 2)
				log = append(log, fmt.Sprint(now.Unix(), " ", addr, again.Sub(now)))
			}
		case 4:
			for addr := range calls {
				if len(calls) > 1 && addr[1]&1 != arg&1 {
					continue // map order must not tell
				}
				var err error
				if arg&3 != 0 {
					err = errors.New("no")
				}
				tb.done(now, addr, []string{"", "refused", "wrong_secret", "self"}[arg&3], err)
				delete(calls, addr)
			}
		case 5:
			now = now.Add(time.Duration(arg) * 500 * time.Millisecond)
		}
		for _, g := range tb.gone(now) {
			require.False(t, named[0][g.Addr] || named[1][g.Addr])
			require.GreaterOrEqual(t, g.Absent, time.Minute)
			log = append(log, "gone "+g.Addr)
		}
		require.Equal(t, len(calls), tb.dialing)
		for addr := range named[0] {
			require.Contains(t, tb.entries, addr, "the last good is kept")
		}
	}
	_ = tb.status(now).String()
	return log
}
