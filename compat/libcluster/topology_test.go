package libcluster

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The resolver's own state is not to be of a synctest bubble, in which the first
	// lookup may be.
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), "localhost")
	// protoactor's dead-letter throttle ends by itself, a second after the last
	// dead letter.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func TestContact(t *testing.T) {
	for _, c := range []struct {
		node       string
		port       int
		want, fail string
	}{
		{"app@10.0.0.7", 0, "10.0.0.7:6278", ""},
		{"app@10.0.0.7:7000", 0, "10.0.0.7:7000", ""},
		{"app@host", 7001, "host:7001", ""},
		{"host", 7001, "host:7001", ""},
		{"app@::1", 0, "[::1]:6278", ""},
		{"app@10.0.0.7@10.0.0.7:1", 0, "10.0.0.7:1", ""},
		{"@host", 0, "", "nothing stands before the @"},
		{"app@", 0, "", "the host is empty"},
		{"", 0, "", "the host is empty"},
		{"app@ho st", 0, "", "does not belong"},
	} {
		got, err := Contact(c.node, c.port)
		if c.fail != "" {
			require.ErrorContains(t, err, c.fail, c.node)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// fake is a cluster that is told what to answer.
type fake struct {
	mu      sync.Mutex
	self    string
	members map[string]string // name to address
	answers map[string]error  // of Join by contact, of Disconnect by name
	calls   []string
	silent  bool // Join returns nil and nobody comes
}

func (f *fake) Name() string { return f.self }

func (f *fake) Addrs(node string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []string{f.members[node]}
}

func (f *fake) NodeList() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for n := range f.members {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

func (f *fake) call(what, whom string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what+" "+whom)
	return f.answers[whom]
}

// Join makes the contact a member, unless it is to fail.
func (f *fake) Join(_ context.Context, contacts ...string) error {
	err := f.call("join", contacts[0])
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && !f.silent {
		f.members["at "+contacts[0]] = contacts[0]
	}
	return err
}

func (f *fake) Disconnect(_ context.Context, node string) error { return f.call("disconnect", node) }

func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.calls)
	return slices.Compact(f.calls)
}

// events collects telemetry.
type events struct {
	mu  sync.Mutex
	all []string
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := ev.Name + " " + ev.Topology + " " + ev.Node
	if ev.Reason != nil {
		s += " " + ev.Reason.Error()
	}
	e.all = append(e.all, s)
}

func (e *events) sorted() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.all))
}

// Only those that are not connected yet, and not this node, are connected, each
// failure has its reason; only those that are connected are disconnected.
func TestConnectNodes(t *testing.T) {
	broken := errors.New("broken")
	f := &fake{self: "me@10.0.0.1", members: map[string]string{"me@10.0.0.1": "10.0.0.1:6278", "b@10.0.0.2": "10.0.0.2:6278", "three": "10.0.0.3:6278", "d": "10.0.0.4:6278"},
		answers: map[string]error{"10.0.0.6:6278": broken, "10.0.0.7:6278": ErrIgnored, "10.0.0.8:6278": ErrUnreachable, "three": broken, "d": ErrAlreadyDisconnected}}
	var ev events
	top := Topology{Name: "t", Telemetry: ev.add}.Bind(f)
	err := ConnectNodes(t.Context(), top, "me@10.0.0.1", "b@10.0.0.2", "c@10.0.0.3", "e@10.0.0.5", "e@10.0.0.5", "f@10.0.0.6", "g@10.0.0.7", "h@10.0.0.8", "@")
	require.Equal(t, []string{"join 10.0.0.5:6278", "join 10.0.0.6:6278", "join 10.0.0.7:6278", "join 10.0.0.8:6278"}, f.called())
	var bad *BadNodes
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Nodes, 4)
	require.ErrorIs(t, bad.Nodes["f@10.0.0.6"], ErrUnreachable)
	require.ErrorIs(t, bad.Nodes["f@10.0.0.6"], broken)
	require.Equal(t, ErrNotPartOfNetwork, bad.Nodes["g@10.0.0.7"])
	require.Equal(t, ErrUnreachable, bad.Nodes["h@10.0.0.8"])
	require.ErrorContains(t, bad.Nodes["@"], "nothing stands before")
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "topology t: ")
	require.Contains(t, ev.sorted(), "libcluster.connect_node.ok t e@10.0.0.5")
	require.Contains(t, ev.sorted(), "libcluster.connect_node.error t g@10.0.0.7 libcluster: not part of the network")
	require.Len(t, ev.sorted(), 5)
	require.NoError(t, ConnectNodes(t.Context(), top, "e@10.0.0.5", "d"))
	require.NoError(t, ConnectNodes(t.Context(), top))
	f.silent = true
	require.ErrorContains(t, ConnectNodes(t.Context(), top, "i@10.0.0.55"), "no member says that it is at 10.0.0.55:6278")

	f.calls, ev.all = nil, nil
	err = DisconnectNodes(t.Context(), top, "me@10.0.0.1", "b@10.0.0.2", "c@10.0.0.3", "d", "stranger@10.0.0.9")
	require.Equal(t, []string{"disconnect b@10.0.0.2", "disconnect d", "disconnect three"}, f.called(), "by the members' own names")
	require.ErrorAs(t, err, &bad)
	require.Equal(t, map[string]error{"three": broken}, bad.Nodes)
	require.Equal(t, []string{"libcluster.disconnect_node.error t d libcluster: already disconnected", "libcluster.disconnect_node.error t three broken",
		"libcluster.disconnect_node.ok t b@10.0.0.2"}, ev.sorted())

	require.ErrorContains(t, ConnectNodes(t.Context(), Topology{Name: "raw"}, "x"), "Bind it to a Joiner")
	require.ErrorContains(t, DisconnectNodes(t.Context(), Topology{Name: "raw"}, "x"), "Bind it to a Joiner")
}

// Functions of one's own are called with nodes as they were given.
func TestOwnFunctions(t *testing.T) {
	var got []string
	top := Topology{Name: "t",
		Connect:   func(_ context.Context, node string) error { got = append(got, "connect "+node); return nil },
		ListNodes: func() []string { return []string{"a@x"} },
		Disconnect: func(_ context.Context, node string) error {
			got = append(got, "disconnect "+node)
			return ErrIgnored
		},
	}.Bind(&fake{})
	require.NoError(t, ConnectNodes(t.Context(), top, "b@y", "a@x"))
	require.NoError(t, DisconnectNodes(t.Context(), top, "b@y", "a@x"))
	require.Equal(t, []string{"connect b@y", "disconnect a@x"}, got)
}
