package actors

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/actors/group"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice"
)

// Times of groups, our choice.
const (
	groupCollect = 10 * time.Millisecond  // changes go out together
	groupCompare = 5 * time.Second        // with one neighbor, at rest
	groupNews    = 300 * time.Millisecond // between comparisons, when there is news
	groupForget  = time.Minute            // what is told of lives that are no members
	groupPages   = 64                     // pages of states in answer to one message
)

// groups is what this node knows of process groups: the book, guarded by a lock,
// and the actor that tells others.
type groups struct {
	d     *Distribution
	self  overlay.Life
	began time.Time
	ready atomic.Bool // the membership can be asked

	mu    sync.Mutex
	book  *group.Book
	named map[string]bool // groups whose process is registered
	views sync.Map        // name -> *groupView
}

func newGroups(d *Distribution) *groups {
	g := &groups{d: d, self: d.registry.Self().Life(), began: time.Now(), named: make(map[string]bool)}
	g.book = group.New(g.self, func(l overlay.Life) bool {
		m, ok := d.service.Lookup(l.Name)
		return ok && m.Peer.Life() == l && m.Status < roster.StatusDown
	})
	return g
}

func (g *groups) now() overlay.Time { return overlay.Time(time.Since(g.began)) }

// changed drops the views that a change makes old and publishes it. The lock is
// held, so that events come in the order of the changes.
func (g *groups) changed(list []group.Change) {
	for _, ch := range list {
		g.views.Delete(ch.Group)
		g.d.service.Note(groupNote{ch.Group, g.pids(ch.Joined), g.pids(ch.Left)})
	}
}

// GroupChanged tells that actors have joined or left a group, here or elsewhere.
// When a node is gone it comes after its NodeDown or NodeLeft.
type GroupChanged struct {
	seq
	Group        string
	Joined, Left []*actor.PID
}

type groupNote struct {
	group        string
	joined, left []*actor.PID
}

func (n groupNote) event(s seq) Event {
	return &GroupChanged{s, n.group, clonePIDs(n.joined), clonePIDs(n.left)}
}

func (g *groups) join(name, id string) error {
	g.mu.Lock()
	isNew, err := g.book.Join(name, id)
	if isNew {
		if !g.named[name] {
			g.named[name] = true
			g.d.system.ProcessRegistry.Add(&groupProcess{g.d, name}, groupID(name))
		}
		g.changed([]group.Change{{Group: name, Joined: []group.Member{{Life: g.self, Actor: id}}}})
	}
	g.mu.Unlock()
	if isNew {
		g.tell(groupJoined{id})
	}
	return err
}

func (g *groups) leave(name, id string) {
	g.mu.Lock()
	left := g.book.Leave(name, id)
	if left {
		g.changed([]group.Change{{Group: name, Left: []group.Member{{Life: g.self, Actor: id}}}})
	}
	g.mu.Unlock()
	if left {
		g.tell(groupDirty{})
	}
}

func (g *groups) ended(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range g.book.Ended(id) {
		g.changed([]group.Change{{Group: name, Left: []group.Member{{Life: g.self, Actor: id}}}})
	}
}

// follow has the book follow the membership until the node ends.
func (g *groups) follow() {
	sub := g.d.service.Subscribe(eventBound)
	defer sub.Close()
	for {
		e, ok := sub.Next(g.d.ctx)
		if !ok {
			return
		}
		g.mu.Lock()
		switch e := e.(type) {
		case peerservice.Snapshot:
			g.changed(g.book.Reconcile(g.others(e.Members)))
			g.views.Clear()
		case peerservice.Up:
			g.changed(g.book.Up(e.Member.Peer.Life()))
		case peerservice.Down:
			g.gone(e.Member)
		case peerservice.Left:
			g.gone(e.Member)
		case peerservice.Updated:
			if e.Old.Leaving != e.New.Leaving {
				g.views.Clear()
			}
		}
		g.mu.Unlock()
	}
}

func (g *groups) others(members []roster.Member) []overlay.Life {
	var list []overlay.Life
	for _, m := range members {
		if l := m.Peer.Life(); l != g.self {
			list = append(list, l)
		}
	}
	return list
}

// gone takes the actors of a life out of all groups. The PIDs of the event are
// made from its record: the member may be unknown by now.
func (g *groups) gone(m roster.Member) {
	for _, ch := range g.book.Gone(m.Peer.Life()) {
		g.views.Delete(ch.Group)
		n := groupNote{group: ch.Group}
		for _, k := range ch.Left {
			n.left = append(n.left, &actor.PID{Address: channelmgr.PIDAddress(m.Peer), Id: k.Actor})
		}
		g.d.service.Note(n)
	}
}

// heard takes a broadcast of another node's groups.
func (g *groups) heard(origin overlay.Peer, body []byte) {
	d := &messages.GroupDelta{}
	if !g.ready.Load() {
		return // the next comparison brings it
	}
	if proto.Unmarshal(body, d) != nil {
		g.d.counts.add("group_malformed")
		return
	}
	g.mu.Lock()
	changes, behind, err := g.book.Delta(origin.Life(), d, g.now())
	g.changed(changes)
	g.mu.Unlock()
	if err != nil {
		g.d.counts.add("group_malformed")
	}
	if behind {
		g.tell(groupStale{})
	}
}

// control takes what another node's groups say to ours. It reports false for
// other messages.
func (g *groups) control(s *channelmgr.Session, msg proto.Message) bool {
	if !g.ready.Load() {
		return true // the next comparison brings it
	}
	var tell []overlay.Life
	var answers []proto.Message
	var err error
	news := false
	g.mu.Lock()
	switch m := msg.(type) {
	case *messages.GroupDigest:
		if m.GetHash() != g.book.Digest() {
			for _, page := range g.book.Versions() {
				answers = append(answers, page)
			}
		}
	case *messages.GroupVersions:
		var ask *messages.GroupPull
		if tell, ask, err = g.book.Compare(m); ask != nil {
			answers = append(answers, ask)
		}
	case *messages.GroupPull:
		tell, err = g.book.Pulled(m)
	case *messages.GroupState:
		var changes []group.Change
		changes, news, err = g.book.State(m, g.now())
		g.changed(changes)
	default:
		g.mu.Unlock()
		return false
	}
	for _, l := range tell { // what does not fit is found by the next comparison
		if len(answers) > groupPages {
			break
		}
		for _, page := range g.book.StateOf(l) {
			answers = append(answers, page)
		}
	}
	g.mu.Unlock()
	if err != nil {
		g.d.counts.add("group_malformed")
		return true
	}
	for _, a := range answers {
		if s.SendControl(a) != nil {
			g.d.counts.add("group_unsent") // found by the next comparison
			break
		}
	}
	if news {
		g.tell(groupStale{})
	}
	return true
}

type (
	groupJoined struct{ id string }    // an actor of this node is new in a group
	groupDirty  struct{}               // there are changes to tell
	groupFlush  struct{}               // now
	groupStale  struct{}               // there is news: compare with somebody soon
	groupLinked struct{ name string }  // a session has come up
	groupTick   struct{ regular bool } // compare
)

const groupsPart = "groups"

func (g *groups) tell(m any) { g.d.root.Send(g.d.system.NewLocalPID("maquis/"+groupsPart), m) }

// teller is the actor that tells other nodes, and hears when an actor in a group
// has stopped. All that must outlive a restart is in the book.
type teller struct {
	g        *groups
	collects bool // a flush is due
	hurries  bool // a comparison is due
	timer    *time.Timer
}

// Receive implements actor.Actor.
func (t *teller) Receive(c actor.Context) {
	g := t.g
	switch m := c.Message().(type) {
	case *actor.Started:
		g.mu.Lock()
		own := g.book.Own()
		g.mu.Unlock()
		for _, id := range own {
			c.Watch(g.d.system.NewLocalPID(id))
		}
		t.collect(c)
		t.tick(c)
	case *actor.Stopping, *actor.Restarting:
		if t.timer != nil {
			t.timer.Stop()
		}
	case *actor.Terminated:
		g.ended(m.Who.Id)
		t.collect(c)
	case groupJoined:
		c.Watch(g.d.system.NewLocalPID(m.id))
		t.collect(c)
	case groupDirty:
		t.collect(c)
	case groupFlush:
		t.collects = false
		g.flush()
	case groupStale:
		if !t.hurries {
			t.hurries = true
			t.after(c, groupNews, groupTick{})
		}
	case groupLinked:
		g.compare(m.name)
	case groupTick:
		if m.regular {
			g.mu.Lock()
			g.book.Expire(g.now(), groupForget)
			g.mu.Unlock()
			t.tick(c)
		} else {
			t.hurries = false
		}
		if !g.ready.Load() {
			return
		}
		if near := g.d.service.Neighbors(); len(near) > 0 {
			g.compare(near[rand.IntN(len(near))].Name)
		}
	}
}

func (t *teller) after(c actor.Context, d time.Duration, m any) *time.Timer {
	self, root := c.Self(), t.g.d.root
	return time.AfterFunc(d, func() { root.Send(self, m) })
}

func (t *teller) collect(c actor.Context) {
	if !t.collects {
		t.collects = true
		t.after(c, groupCollect, groupFlush{})
	}
}

func (t *teller) tick(c actor.Context) {
	t.timer = t.after(c, groupCompare/2+rand.N(groupCompare), groupTick{regular: true})
}

// flush broadcasts the changes of this node's groups. What a broadcast loses, a
// comparison finds.
func (g *groups) flush() {
	g.mu.Lock()
	list := g.book.Flush()
	g.mu.Unlock()
	for _, d := range list {
		body, err := proto.Marshal(d)
		if err == nil {
			err = g.d.broadcastControl(d, body)
		}
		if err != nil {
			g.d.counts.add("group_unsent")
		}
	}
}

// compare tells a node what ours knows, in short.
func (g *groups) compare(node string) {
	g.mu.Lock()
	hash := g.book.Digest()
	g.mu.Unlock()
	if s := g.d.registry.Session(node); s != nil && hash != 0 && s.Linked() {
		_ = s.SendControl(&messages.GroupDigest{Hash: hash})
	}
}
