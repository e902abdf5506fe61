package hyparview_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Contacts that are forgotten are called no more; those that are not, are.
func TestForget(t *testing.T) {
	for _, keep := range []bool{false, true} {
		b := newBench(t, nil)
		first := b.feed(overlay.Join{Contacts: []overlay.Peer{{Addr: "a:1"}, {Addr: "b:1"}, {Addr: "c:1"}}})
		require.Len(t, first, 1)
		dialed, ok := strings.CutPrefix(first[0], "connect @")
		require.True(t, ok, first)
		gone, kept := []string{"a:1", "b:1", "c:1"}, ""
		if keep { // one that is not being asked
			i := slices.IndexFunc(gone, func(a string) bool { return a != dialed })
			kept = gone[i]
			gone = slices.Delete(gone, i, i+1)
		}
		require.Empty(t, b.feed(overlay.Command{Order: overlay.Forget{Contacts: gone}}))
		var got []string
		for addr := dialed; addr != "" && len(got) < 5; {
			effects := b.feed(overlay.LinkDown{Peer: overlay.Peer{Addr: addr}, Contact: addr, Dial: true, Reason: messages.ReasonRefused})
			effects = append(effects, b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "rejoin"}})...)
			addr = ""
			for _, l := range effects {
				if to, ok := strings.CutPrefix(l, "connect @"); ok {
					addr, got = to, append(got, to)
				}
			}
		}
		if keep {
			require.Equal(t, []string{kept, kept, kept, kept, kept}, got)
		} else {
			require.Empty(t, got)
		}
	}
}

// Who is told to join through another, as after a partition, keeps the contacts
// that it has.
func TestContactsAreKept(t *testing.T) {
	b := newBench(t, nil)
	join := func(addr string) []string {
		return b.feed(overlay.Join{Contacts: []overlay.Peer{{Addr: addr}}})
	}
	fail := func(addr string) []string {
		return b.feed(overlay.LinkDown{Peer: overlay.Peer{Addr: addr}, Contact: addr, Dial: true, Reason: messages.ReasonRefused})
	}
	require.Equal(t, []string{"connect @a:1"}, join("a:1"))
	require.Empty(t, fail("a:1"))
	require.Equal(t, []string{"connect @c:1"}, join("c:1"), "the new one first")
	tried := map[string]bool{}
	for addr := "c:1"; len(tried) < 2; {
		effects := fail(addr)
		if len(effects) == 0 {
			effects = b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "rejoin"}})
		}
		require.Len(t, effects, 1)
		addr = strings.TrimPrefix(effects[0], "connect @")
		tried[addr] = true
	}
	require.Equal(t, map[string]bool{"a:1": true, "c:1": true}, tried)
}
