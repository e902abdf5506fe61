package channelmgr

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
)

// Drift is a channel that another node's configuration describes otherwise
// than this one's. The sender's spec governs, so both go on; that they differ
// may not be meant.
type Drift struct {
	Node         string
	Ours, Theirs ChannelSpec
}

// maxNewsBytes bounds the entries in one message: control frames are small.
const maxNewsBytes = 32 << 10

// SetChannel adds or changes a channel, here at once, and returns what is to be
// told to the other nodes. What is queued stays in its order. Lanes, bounds,
// overflow, priority, compression, overlay and types may change; what a channel
// promises (delivery, ordering, and whether the oldest is dropped) may not,
// since messages are on their way under that promise: such a change is refused,
// use another name.
func (r *Registry) SetChannel(spec ChannelSpec) (*messages.ChannelNews, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.Overlay != "" && !slices.Contains(r.cfg.Overlays, spec.Overlay) {
		return nil, fmt.Errorf("channelmgr: channel %q is bound to overlay %q, which this node does not have%s", spec.Name, spec.Overlay, orElse(r.cfg.Overlays))
	}
	return r.change(entryOf(spec.withDefaults()))
}

// RemoveChannel removes a channel, here at once, and returns what is to be told
// to the other nodes. What is queued on it is still delivered; a send fails.
func (r *Registry) RemoveChannel(name string) (*messages.ChannelNews, error) {
	if name == DataChannel || name == ControlChannel {
		return nil, fmt.Errorf("channelmgr: channel %q cannot be removed", name)
	}
	if _, err := r.Channel(name); err != nil {
		return nil, err
	}
	for i, rule := range r.Rules() {
		if rule.Channel == name {
			return nil, fmt.Errorf("channelmgr: channel %q cannot be removed: routing rule %d puts messages on it", name, i+1)
		}
	}
	return r.change(&messages.ChannelEntry{Name: name, Removed: true})
}

// configured are the channels of a configuration, with the default one.
func configured(list []ChannelSpec) map[string]ChannelSpec {
	specs := map[string]ChannelSpec{DataChannel: ChannelSpec{Name: DataChannel}.withDefaults()}
	for _, c := range list {
		specs[c.Name] = c.withDefaults()
	}
	return specs
}

func entriesOf(specs map[string]ChannelSpec) []*messages.ChannelEntry {
	var list []*messages.ChannelEntry
	for _, c := range specs {
		list = append(list, entryOf(c))
	}
	return list
}

// Configure replaces the channels of this node's configuration, and its rules, on
// this node only: all or, with an error, none. What SetChannel or RemoveChannel said
// of a channel stands above. It changes as SetChannel does, and what the
// configurations of other nodes say otherwise is drift. With try, nothing is changed.
func (r *Registry) Configure(channels []ChannelSpec, rules []RoutingRule, try bool) error {
	cfg := r.cfg
	cfg.Channels = channels
	if err := cfg.Validate(); err != nil {
		return err
	}
	r.planning.Lock()
	defer r.planning.Unlock()
	own := entriesOf(configured(channels))
	next := r.catalog.With(own...)
	old := r.plan.Load()
	specs := make(map[string]ChannelSpec)
	for _, e := range next.Entries() {
		if e.GetRemoved() {
			continue
		}
		specs[e.GetName()] = specOf(e)
		if was, ok := old.specs[e.GetName()]; ok && was.promise() != specs[e.GetName()].promise() {
			return promises(e.GetName())
		}
	}
	if len(specs) > MaxChannels {
		return fmt.Errorf("channelmgr: %d channels, with those of SetChannel; at most %d are allowed", len(specs), MaxChannels)
	}
	p, err := newPlan(specs, rules)
	if err != nil || try {
		return err
	}
	r.catalog = next
	r.replan(p)
	return nil
}

func promises(name string) error {
	return fmt.Errorf("channelmgr: channel %q promises something else now (delivery, ordering or drop-oldest); give the changed one another name", name)
}

// change makes an entry the one that stands.
func (r *Registry) change(e *messages.ChannelEntry) (*messages.ChannelNews, error) {
	r.planning.Lock()
	defer r.planning.Unlock()
	old := r.plan.Load()
	specs := maps.Clone(old.specs)
	if err := adopt(specs, e); err != nil {
		return nil, err
	}
	if len(specs) > MaxChannels {
		return nil, fmt.Errorf("channelmgr: channel %q is one too many; at most %d are allowed", e.GetName(), MaxChannels)
	}
	p, err := newPlan(specs, old.said)
	if err != nil {
		return nil, err
	}
	e, err = r.catalog.Set(e, r.Self().Name)
	if err != nil {
		return nil, fmt.Errorf("channelmgr: %w", err)
	}
	r.replan(p)
	return &messages.ChannelNews{Entries: []*messages.ChannelEntry{e}}, nil
}

// adopt changes specs as an entry says, or reports why that cannot be.
func adopt(specs map[string]ChannelSpec, e *messages.ChannelEntry) error {
	if e.GetRemoved() {
		if e.GetName() == DataChannel {
			return errors.New(`channelmgr: channel "data" cannot be removed`)
		}
		delete(specs, e.GetName())
		return nil
	}
	spec := specOf(e)
	if err := spec.Validate(); err != nil {
		return err
	}
	if old, ok := specs[spec.Name]; ok && old.promise() != spec.promise() {
		return promises(spec.Name)
	}
	specs[spec.Name] = spec
	return nil
}

// promise is what a channel's messages are sent under.
func (c ChannelSpec) promise() [3]int {
	oldest := 0
	if c.Overflow == DropOldest {
		oldest = 1
	}
	return [3]int{int(c.Delivery), int(c.Ordering), oldest}
}

// replan puts a plan in the place of the one before. planning is held.
func (r *Registry) replan(p *plan) {
	old := r.plan.Swap(p)
	for name, spec := range p.specs {
		if was, ok := old.specs[name]; !ok || !equalSpecs(was, spec) {
			for _, s := range r.allSessions() {
				s.respec(spec)
			}
		}
	}
	for name := range old.specs {
		if _, ok := p.specs[name]; !ok {
			for _, s := range r.allSessions() {
				s.retireChannel(name)
			}
		}
	}
}

func equalSpecs(a, b ChannelSpec) bool {
	types := slices.Equal(a.Types, b.Types)
	a.Types, b.Types = nil, nil
	return types && fmt.Sprint(a) == fmt.Sprint(b)
}

// ChannelDigest is what nodes compare when a session comes up.
func (r *Registry) ChannelDigest() *messages.ChannelDigest {
	r.planning.Lock()
	defer r.planning.Unlock()
	return &messages.ChannelDigest{Hash: r.catalog.Hash()}
}

// CompareChannels takes a peer's digest and returns what it is to be told, with
// a question back; nothing if both know the same.
func (r *Registry) CompareChannels(d *messages.ChannelDigest) []*messages.ChannelNews {
	r.planning.Lock()
	defer r.planning.Unlock()
	if d.GetHash() == r.catalog.Hash() {
		return nil
	}
	pages := inPages(r.catalog.Entries())
	pages[len(pages)-1].Ask = true
	return pages
}

// LearnChannels takes what a node says of the cluster's channels. It returns
// what was news here, to be told to all unless it came from all, the answer to a
// question, and where configurations differ. What breaks a bound or is invalid
// here is left out: err says why.
func (r *Registry) LearnChannels(from string, m *messages.ChannelNews) (news, answer []*messages.ChannelNews, drift []Drift, err error) {
	r.planning.Lock()
	defer r.planning.Unlock()
	var sane []*messages.ChannelEntry
	var errs []error
	for _, e := range m.GetEntries() {
		if bad := checkEntry(e); bad != nil {
			errs = append(errs, bad)
			continue
		}
		sane = append(sane, e)
	}
	fresh, differ, merr := r.catalog.Merge(sane)
	errs = append(errs, merr)
	for _, d := range differ {
		drift = append(drift, Drift{Node: from, Ours: specOf(d.Ours), Theirs: specOf(d.Theirs)})
	}
	if len(fresh) > 0 {
		old := r.plan.Load()
		specs := maps.Clone(old.specs)
		for _, e := range fresh {
			if len(specs) >= MaxChannels && specs[e.GetName()].Name == "" && !e.GetRemoved() {
				errs = append(errs, fmt.Errorf("channelmgr: channel %q is one too many here", e.GetName()))
				continue
			}
			errs = append(errs, adopt(specs, e))
		}
		p, perr := newPlan(specs, old.said) // what is contradictory is left out of it
		errs = append(errs, perr)
		r.replan(p)
		news = inPages(fresh)
	}
	if m.GetAsk() {
		if list := r.catalog.Differing(sane); len(list) > 0 {
			answer = inPages(list)
		}
	}
	return news, answer, drift, errors.Join(errs...)
}

// checkEntry refuses an entry that no node would say.
func checkEntry(e *messages.ChannelEntry) error {
	if e.GetRemoved() {
		if e.GetName() == "" || len(e.GetName()) > 64 || e.GetName() == DataChannel || e.GetName() == ControlChannel {
			return fmt.Errorf("channelmgr: a removed channel %.64q", e.GetName())
		}
		return nil
	}
	return specOf(e).Validate()
}

// inPages splits entries into messages that fit in control frames.
func inPages(list []*messages.ChannelEntry) []*messages.ChannelNews {
	pages := []*messages.ChannelNews{{}}
	size := 0
	for _, e := range list {
		n := entrySize(e)
		if last := pages[len(pages)-1]; len(last.Entries) > 0 && size+n > maxNewsBytes {
			pages, size = append(pages, &messages.ChannelNews{}), 0
		}
		last := pages[len(pages)-1]
		last.Entries = append(last.Entries, e)
		size += n
	}
	return pages
}

func entrySize(e *messages.ChannelEntry) int {
	n := 128 + len(e.GetName()) + len(e.GetOrigin()) + len(e.GetOverlay())
	for _, t := range e.GetTypes() {
		n += len(t) + 4
	}
	return n
}

// entryOf and specOf convert between a spec and its wire form.
func entryOf(c ChannelSpec) *messages.ChannelEntry {
	return &messages.ChannelEntry{
		Name: c.Name, Lanes: uint32(c.Lanes), Priority: uint32(c.Priority), Delivery: uint32(c.Delivery), Ordering: uint32(c.Ordering),
		MaxQueueLen: uint64(c.MaxQueueLen), MaxQueueBytes: uint64(c.MaxQueueBytes), Overflow: uint32(c.Overflow),
		BlockTimeoutMs: uint64(max(c.BlockTimeout/time.Millisecond, 1)), Compression: uint32(c.Compression), Overlay: c.Overlay, Types: c.Types,
	}
}

func specOf(e *messages.ChannelEntry) ChannelSpec {
	const most = 1 << 40
	return ChannelSpec{
		Name: e.GetName(), Lanes: int(min(e.GetLanes(), 1<<16)), Priority: Priority(min(e.GetPriority(), 255)),
		Delivery: Delivery(min(e.GetDelivery(), 255)), Ordering: Ordering(min(e.GetOrdering(), 255)),
		MaxQueueLen: int(min(e.GetMaxQueueLen(), most)), MaxQueueBytes: int(min(e.GetMaxQueueBytes(), most)),
		Overflow: Overflow(min(e.GetOverflow(), 255)), BlockTimeout: time.Duration(min(e.GetBlockTimeoutMs(), 1<<32)) * time.Millisecond,
		Compression: Compression(min(e.GetCompression(), 255)), Overlay: e.GetOverlay(), Types: e.GetTypes(),
	}.withDefaults()
}
