package roster

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// large is a machine in a cluster whose news are gathered: of 26 members.
func large(t *testing.T, name string) *one {
	t.Helper()
	var seed []Member
	for c := 'a'; c <= 'z'; c++ {
		if string(c) != name {
			seed = append(seed, memberOf(string(c), StatusAlive))
		}
	}
	cfg := LAN(Config{Self: recordOf(peerOf(name)), Rand: rand.New(rand.NewPCG(1, 2)), Seed: seed, Partial: true, Tree: true})
	cfg.Gather = 20
	m, err := New(cfg)
	require.NoError(t, err)
	o := &one{Machine: m, t: t, rejects: map[messages.Reason]int{}, now: overlay.Time(time.Hour)}
	o.step(overlay.Start{})
	return o
}

// lights has a hear the beacon of the member of the least name from a neighbor.
func (o *one) lights(via string) {
	b, err := proto.Marshal(news(recordOf(peerOf("a"))))
	require.NoError(o.t, err)
	o.step(overlay.Delivered{From: peerOf(via), ID: overlay.MessageID{Origin: "a", Incarnation: peerOf("a").Incarnation}, Subject: Subject, Payload: b})
}

// loses has a node lose a member, as far as to suspect it.
func (o *one) loses(name string) {
	o.step(overlay.NeighborUp{Peer: peerOf(name)})
	o.step(overlay.NeighborDown{Peer: peerOf(name), Reason: messages.ReasonReset})
	for range 4 {
		if o.table.get(name).stage == stageSuspect {
			return
		}
		o.now = o.table.get(name).due
		o.step(watchOf(name))
	}
	o.t.Fatalf("%s does not suspect %s", o.self.Peer, name)
}

// words fires a timer, and returns who is told to be suspect: over the tree, and to
// which peers.
func (o *one) words(kind overlay.TimerKind) (tree []string, to map[string][]string) {
	o.t.Helper()
	o.take()
	o.notices = nil
	o.step(overlay.Fired{Timer: overlay.Timer{Kind: kind}})
	to = make(map[string][]string)
	for _, n := range o.notices {
		if p, ok := n.(overlay.Publish); ok {
			up := &messages.RosterUpdate{}
			require.NoError(o.t, proto.Unmarshal(p.Payload, up))
			for _, c := range up.GetClaims() {
				tree = append(tree, c.GetName())
			}
		}
	}
	for _, e := range o.take() {
		up, ok := e.Msg.(*messages.RosterUpdate)
		if !ok {
			continue
		}
		require.True(o.t, up.GetRise())
		for _, c := range up.GetClaims() {
			to[e.Peer.Name] = append(to[e.Peer.Name], c.GetName())
		}
	}
	return tree, to
}

// after is to when the last step set a timer.
func (o *one) after(kind overlay.TimerKind) time.Duration {
	for _, e := range o.out.All() {
		if e.Kind == overlay.EffectSetTimer && e.Timer.Kind == kind {
			return e.After
		}
	}
	return -1
}

// rises has a node hear from a neighbor what it is to bring on.
func (o *one) rises(from string, names ...string) {
	up := &messages.RosterUpdate{Rise: true}
	for _, n := range names {
		up.Claims = append(up.Claims, claim(n, StatusSuspect, 0).Claims...)
	}
	o.hear(from, up)
}

// tells has a node hear over the tree who is suspect.
func (o *one) tells(names ...string) {
	up := &messages.RosterUpdate{}
	for _, n := range names {
		up.Claims = append(up.Claims, claim(n, StatusSuspect, 0).Claims...)
	}
	b, err := proto.Marshal(up)
	require.NoError(o.t, err)
	o.step(overlay.Delivered{From: peerOf("m"), ID: overlay.MessageID{Origin: "a", Incarnation: peerOf("a").Incarnation}, Subject: Subject, Payload: b})
}

// Who suspects a member says so on the way to the member of the least name.
func TestBadNewsRise(t *testing.T) {
	c := large(t, "c")
	c.step(overlay.NeighborUp{Peer: peerOf("m")})
	c.lights("m")
	c.loses("x")
	tree, to := c.words(timerGather)
	require.Empty(t, tree)
	require.Equal(t, map[string][]string{"m": {"x"}}, to)

	// Another brings more: news go on, what is known does not.
	c.rises("p", "x", "y")
	tree, to = c.words(timerGather)
	require.Empty(t, tree)
	require.Equal(t, map[string][]string{"m": {"y"}}, to)

	// The tree brings one back; the other is told after a while.
	c.tells("x")
	c.now = c.now.Add(2 * bringBack * c.cfg.Grace)
	tree, to = c.words(timerSpare)
	require.Equal(t, []string{"y"}, tree)
	require.Empty(t, to)
	tree, _ = c.words(timerSpare)
	require.Empty(t, tree, "once")
}

// What comes back from whom it was brought to goes on the way that was heard since.
func TestBadNewsThatComeBack(t *testing.T) {
	c := large(t, "c")
	for _, n := range []string{"m", "p"} {
		c.step(overlay.NeighborUp{Peer: peerOf(n)})
	}
	c.lights("m")
	c.loses("x")
	_, to := c.words(timerGather)
	require.Equal(t, map[string][]string{"m": {"x"}}, to)
	c.rises("m", "x")
	require.Equal(t, c.cfg.Grace, c.after(timerGather), "it waits for another way")
	c.lights("p")
	require.Zero(t, c.after(timerGather))
	tree, to := c.words(timerGather)
	require.Empty(t, tree)
	require.Equal(t, map[string][]string{"p": {"x"}}, to)
	c.rises("m", "x")
	_, to = c.words(timerGather)
	require.Empty(t, to, "m is not who it was brought to last")
	c.lights("m")
	c.rises("p", "x")
	_, to = c.words(timerGather)
	require.Equal(t, map[string][]string{"m": {"x"}}, to, "the way was heard before")
	c.lights("p")
	c.loses("y")
	_, to = c.words(timerGather)
	require.Equal(t, map[string][]string{"p": {"y"}}, to)
	c.rises("m", "x")
	_, to = c.words(timerGather)
	require.Equal(t, map[string][]string{"p": {"x"}}, to, "though others went elsewhere since")
	c.lights("m")
	c.rises("p", "x")
	_, to = c.words(timerGather)
	require.Equal(t, map[string][]string{"m": {"x"}}, to)
	c.rises("m", "x")
	c.now = c.now.Add(c.cfg.Grace)
	tree, to = c.words(timerGather)
	require.Equal(t, []string{"x"}, tree, "no other is heard")
	require.Empty(t, to)
}

// The member of the least name tells what has come to it, in one.
func TestWhoTells(t *testing.T) {
	a := large(t, "a")
	a.step(overlay.NeighborUp{Peer: peerOf("m")})
	a.rises("m", "x")
	require.Zero(t, a.after(timerGather), "the first at once")
	tree, to := a.words(timerGather)
	require.Equal(t, []string{"x"}, tree)
	require.Empty(t, to)
	a.now = a.now.Add(time.Millisecond)
	a.rises("m", "y")
	require.Equal(t, a.cfg.Grace/tellParts, a.after(timerGather), "then with what comes meanwhile")
	a.rises("p", "z")
	tree, _ = a.words(timerGather)
	require.Equal(t, []string{"y", "z"}, tree)
}

// What it suspects itself it tells once more, as in a small cluster: to it nobody
// brings that back.
func TestWhoTellsRepeats(t *testing.T) {
	a := large(t, "a")
	a.step(overlay.NeighborUp{Peer: peerOf("m")})
	a.loses("x")
	for range 2 {
		tree, _ := a.words(timerGather)
		require.Equal(t, []string{"x"}, tree)
		a.now = a.table.get("x").due
		a.step(watchOf("x"))
	}
	tree, _ := a.words(timerGather)
	require.Empty(t, tree)
}

// Where the way is broken news wait for another, and are told when none shows. The
// neighbors of who told them tell when it is gone.
func TestABrokenWay(t *testing.T) {
	none := map[string][]string{}
	c := large(t, "c")
	for _, n := range []string{"m", "o", "p"} {
		c.step(overlay.NeighborUp{Peer: peerOf(n)})
	}
	c.lights("m")
	c.step(overlay.NeighborDown{Peer: peerOf("m"), Reason: messages.ReasonReset})
	c.loses("x")
	tree, to := c.words(timerGather)
	require.Empty(t, tree)
	require.Equal(t, none, to)
	c.lights("o")
	require.Zero(t, c.after(timerGather))
	tree, to = c.words(timerGather)
	require.Empty(t, tree)
	require.Equal(t, map[string][]string{"o": {"x"}}, to)

	c.step(overlay.NeighborDown{Peer: peerOf("o"), Reason: messages.ReasonReset})
	c.loses("y")
	tree, to = c.words(timerGather)
	require.Empty(t, tree)
	require.Equal(t, none, to)
	c.now = c.now.Add(c.after(timerGather))
	tree, to = c.words(timerGather)
	require.Equal(t, []string{"y"}, tree)
	require.Equal(t, none, to)

	c.lights("a")
	c.loses("z")
	tree, to = c.words(timerGather)
	require.Equal(t, []string{"z"}, tree)
	require.Equal(t, none, to)
}

// In a small cluster, or where nobody was heard for long, each tells.
func TestWhoHasNoWayTells(t *testing.T) {
	for name, f := range map[string]func(o *one){
		"small": func(o *one) { o.cfg.Gather = 27 },
		"never": func(o *one) { o.cfg.Gather = 0 },
		"long ago": func(o *one) {
			o.now = o.now.Add(beaconLost * o.cfg.Merge)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := large(t, "c")
			c.step(overlay.NeighborUp{Peer: peerOf("m")})
			c.lights("m")
			f(c)
			c.notices = nil
			c.loses("x")
			require.Equal(t, 1, told[overlay.Publish](c))
		})
	}
}

// The first of those who are left shows the way to itself.
func TestTheNextToTell(t *testing.T) {
	for _, s := range []Status{StatusSuspect, StatusLeft} {
		b, c := large(t, "b"), large(t, "c")
		for _, o := range []*one{b, c} {
			o.step(overlay.NeighborUp{Peer: peerOf("m")})
			o.notices = nil
			o.hear("m", claim("a", s, 0))
		}
		require.Equal(t, 1, told[overlay.Publish](b), s)
		require.Zero(t, told[overlay.Publish](c), s)
	}
}
