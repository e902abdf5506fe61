package watch_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/actors/watch"
)

var (
	a   = watch.Life{Name: "a", Incarnation: 1}
	key = watch.Key{Watcher: "w", Watchee: "x"}
)

// A watch ends once, whoever says it.
func TestOneEndPerWatch(t *testing.T) {
	k := watch.New[string, int]()
	require.True(t, k.Watch(a, key, "pid"))
	who, ok := k.Ended(a, key)
	require.True(t, ok)
	require.Equal(t, "pid", who)
	_, ok = k.Ended(a, key)
	require.False(t, ok)
	out, _ := k.Gone(a)
	require.Empty(t, out)

	k.Watch(a, key, "pid")
	require.True(t, k.Unwatch(a, key))
	_, ok = k.Ended(a, key)
	require.False(t, ok, "it was given up")

	k.Watch(a, key, "pid")
	out, _ = k.Gone(a)
	require.Equal(t, []watch.Ending[string]{{Key: key, Of: "pid"}}, out)
	_, ok = k.Ended(a, key)
	require.False(t, ok)
	_, ok = k.Ended(watch.Life{Name: "a", Incarnation: 2}, key)
	require.False(t, ok, "another life")
}

// A sync finds what stands, what has ended, and what is new.
func TestSync(t *testing.T) {
	k := watch.New[string, int]()
	_, told, known := k.Sync(a, key)
	require.False(t, told || known)
	k.WatchedBy(a, key)
	_, told, known = k.Sync(a, key)
	require.True(t, known && !told)
	require.True(t, k.Terminated(a, key, 7))
	require.False(t, k.Terminated(a, key, 7))
	why, told, known := k.Sync(a, key)
	require.True(t, told && !known)
	require.Equal(t, 7, why)
	k.WatchedBy(a, key)
	_, told, _ = k.Sync(a, key)
	require.False(t, told, "it is watched anew")
}

func TestRecentEndsAreBounded(t *testing.T) {
	k := watch.New[string, int]()
	at := func(i int) watch.Key { return watch.Key{Watcher: "w", Watchee: fmt.Sprint(i)} }
	for i := range watch.MaxRecent + 10 {
		k.WatchedBy(a, at(i))
		k.Terminated(a, at(i), i)
	}
	_, told, _ := k.Sync(a, at(9))
	require.False(t, told, "the oldest are forgotten")
	_, told, _ = k.Sync(a, at(10))
	require.True(t, told)
}

func TestStop(t *testing.T) {
	k := watch.New[string, int]()
	b := watch.Life{Name: "b", Incarnation: 1}
	k.Watch(b, key, "pid")
	k.WatchedBy(a, key)
	require.Equal(t, []watch.Life{a, b}, k.Stop())
	require.False(t, k.Watch(a, key, "pid"))
	require.Equal(t, []watch.Key{key}, k.Standing(b))
	_, in := k.Gone(a)
	require.Equal(t, []watch.Key{key}, in)
}
