package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct{ entry, want, err string }{
		{"10.0.0.7", "10.0.0.7:6278", ""},
		{"10.0.0.7:80", "10.0.0.7:80", ""},
		{"orders-0.orders", "orders-0.orders:6278", ""},
		{"orders-0.orders.:7000", "orders-0.orders.:7000", ""},
		{"::1", "[::1]:6278", ""},
		{"[::1]", "[::1]:6278", ""},
		{"[fe80::1%eth0]:9", "[fe80::1%eth0]:9", ""},
		{"", "", "the host is empty"},
		{":6278", "", "the host is empty"},
		{"a:b", "", `port "b" is not a number`},
		{"a:0", "", `port "0" is not a number`},
		{"a:70000", "", `port "70000" is not a number`},
		{"a:1:2", "", "use host, host:port or [IPv6]:port"},
		{"[10.0.0.7]", "", "must be an IPv6 address"},
		{"a b", "", `' ' does not belong`},
		{"a..b", "", "1 to 63 bytes"},
		{"höst", "", `'ö' does not belong`},
		{"http://a:80", "", "use host, host:port"},
	} {
		got, err := Address(c.entry, 0)
		if c.err == "" {
			require.NoError(t, err, c.entry)
			require.Equal(t, c.want, got)
		} else {
			require.ErrorContains(t, err, c.err, c.entry)
		}
	}
}

func TestWhole(t *testing.T) {
	s := whole([]Candidate{{Addr: "b:1"}, {Addr: "a:1", Terminating: true}, {Addr: "b:1", Terminating: true}, {Addr: "a:1"}})
	require.Equal(t, ok("b:1", "a:1"), s, "in the source's order, alive where one record says so")
	var many []Candidate
	for i := range MaxCandidates + 1 {
		many = append(many, Candidate{Addr: fmt.Sprint(i)})
	}
	s = whole(many)
	require.Len(t, s.Candidates, MaxCandidates)
	require.True(t, s.Partial)
	require.ErrorContains(t, s.Err, "more than 16384")
}

func TestStatic(t *testing.T) {
	require.ErrorContains(t, Static{}.Validate(), "Addrs is empty")
	err := Static{Addrs: []string{"a:x", "b", "c:0"}, Port: -1}.Validate()
	for _, part := range []string{`"a:x"`, `"c:0"`, "Port is -1"} {
		require.ErrorContains(t, err, part)
	}
	bubble(t, func(t *testing.T, ctx context.Context) {
		l := listen(t, ctx, Static{Addrs: []string{"a", "b:2", "a"}, Port: 7})
		synctest.Wait()
		s, _ := l.last()
		require.Equal(t, ok("a:7", "b:2"), s)
		time.Sleep(time.Hour)
		require.Equal(t, 1, l.count())
	})
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "merge(static a; fallback(static b,c; script))",
		Describe(Merge(Static{Addrs: []string{"a"}}, Fallback(Static{Addrs: []string{"b", "c"}}, script{name: "script"}))))
	require.ErrorContains(t, Validate(Merge()), "no strategy")
	require.ErrorContains(t, Validate(Merge(nil)), "is nil")
	require.ErrorContains(t, Validate(Keep(Fallback(Static{}))), "Addrs is empty")
	require.Equal(t, "static a,a,a,a and 1 more", Describe(Keep(Static{Addrs: []string{"a", "a", "a", "a", "a"}})))
}

// A strategy that returns or panics is run again; each time the wait doubles.
func TestKeep(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newScript("mine")
		l := listen(t, ctx, Keep(s))
		s.fail <- errors.New("no luck")
		synctest.Wait()
		got, _ := l.last()
		require.ErrorContains(t, got.Err, "mine ended: no luck")
		s.fail <- nil
		synctest.Wait()
		got, _ = l.last()
		require.ErrorContains(t, got.Err, "panic: a strategy's fault")
		s.say <- ok("a:1")
		synctest.Wait()
		got, _ = l.last()
		require.Equal(t, ok("a:1"), got)
		start := time.Now()
		for range 10 {
			s.fail <- errors.New("again")
		}
		require.Greater(t, time.Since(start), 3*time.Minute)
		require.Less(t, time.Since(start), 10*time.Minute)
	})
	require.ErrorContains(t, Keep(Static{}).Run(t.Context(), nil), "Addrs is empty", "invalid options are not tried again")
}

// One source's outage takes nothing from the union and marks it.
func TestMerge(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		a, b := newScript("a"), newScript("b")
		l := listen(t, ctx, Merge(a, b))
		hear := func(s script, snap Snapshot) Snapshot {
			s.say <- snap
			synctest.Wait()
			got, _ := l.last()
			return got
		}
		got := hear(a, ok("1:1", "2:2"))
		require.Equal(t, []string{"1:1", "2:2"}, addrs(got))
		require.True(t, got.Partial, "b has not answered")
		got = hear(b, ok("2:2", "3:3"))
		require.Equal(t, ok("1:1", "2:2", "3:3"), got)
		got = hear(a, failed(errors.New("down")))
		require.Equal(t, []string{"1:1", "2:2", "3:3"}, addrs(got))
		require.ErrorContains(t, got.Err, "down")
		require.False(t, got.OK())
		got = hear(a, Snapshot{Candidates: ok("4:4").Candidates, Partial: true})
		require.Equal(t, []string{"1:1", "2:2", "3:3", "4:4"}, addrs(got), "a partial answer adds")
		require.False(t, got.OK())
		got = hear(a, ok("4:4"))
		require.Equal(t, []string{"2:2", "3:3", "4:4"}, addrs(got))
		require.True(t, got.OK())
		got = hear(b, ok())
		require.Equal(t, ok("4:4"), got, "a whole empty answer is an answer")
	})
}

func TestFallback(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		a, b := newScript("a"), newScript("b")
		l := listen(t, ctx, Fallback(a, b))
		hear := func(s script, snap Snapshot) Snapshot {
			s.say <- snap
			synctest.Wait()
			got, _ := l.last()
			return got
		}
		runs := func(s script) bool {
			select {
			case s.say <- ok("9:9"):
				return true
			case <-time.After(time.Second):
				return false
			}
		}
		require.Equal(t, ok("1:1"), hear(a, ok("1:1")))
		require.False(t, runs(b), "the second is not asked while the first answers")
		got := hear(a, failed(errors.New("down")))
		require.ErrorContains(t, got.Err, "down")
		got = hear(b, ok("2:2"))
		require.Equal(t, []string{"2:2"}, addrs(got))
		require.True(t, got.Partial)
		require.ErrorContains(t, got.Err, "down", "and says why it is not the first that answers")
		require.Equal(t, ok("1:1", "3:3"), hear(a, ok("1:1", "3:3")))
		require.False(t, runs(b), "the second is stopped")
		n := l.count()
		hear(a, ok())
		require.Equal(t, n, l.count(), "empty: nothing is said until the second was heard")
		got = hear(b, ok())
		require.True(t, got.OK(), "all are empty: that is an answer")
		require.Empty(t, got.Candidates)
	})
}

// A first source that hangs does not keep the second from being asked.
func TestFallbackPatience(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		start := time.Now()
		l := listen(t, ctx, Fallback(newScript("hangs"), Static{Addrs: []string{"a"}}))
		got := l.untilAddrs("a:6278")
		require.Equal(t, patience, time.Since(start))
		require.True(t, got.Partial)
		require.ErrorContains(t, got.Err, "hangs has not answered in 5s")
	})
}

func TestPace(t *testing.T) {
	p := new(Pace)
	calm, changed := p.Calm()
	require.False(t, calm)
	p.SetCalm(false)
	select {
	case <-changed:
		t.Fatal("nothing changed")
	default:
	}
	p.SetCalm(true)
	<-changed
	calm, _ = PaceOf(WithPace(t.Context(), p)).Calm()
	require.True(t, calm)
	calm, _ = PaceOf(t.Context()).Calm()
	require.False(t, calm)
}

// Whatever sources say and in whatever order: the union lacks nothing that the
// last good answers named, and is whole only if all answers were.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0, 1, 2, 7, 9, 130, 255})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		views := make([]view, 3)
		good := make([]map[string]bool, 3)
		last := make([]bool, 3)
		for _, b := range bytes {
			i, kind := int(b%3), b/3%3
			s := Snapshot{Partial: kind == 1}
			if kind == 2 {
				s.Err = errors.New("down")
			}
			for a := range 5 {
				if b>>3&(1<<a) != 0 {
					s.Candidates = append(s.Candidates, Candidate{Addr: fmt.Sprint(a)})
				}
			}
			views[i].hear(s)
			if last[i] = s.OK(); s.OK() || good[i] == nil {
				good[i] = map[string]bool{}
			}
			for _, c := range s.Candidates {
				good[i][c.Addr] = true
			}
			var want []string
			for _, g := range good {
				for a := range g {
					want = append(want, a)
				}
			}
			slices.Sort(want)
			got := union(views)
			require.Equal(t, slices.Compact(want), addrs(got))
			require.Equal(t, last[0] && last[1] && last[2], got.OK())
		}
	})
}
