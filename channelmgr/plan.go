package channelmgr

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/maquis-go/maquis/internal/nearest"
	"github.com/maquis-go/maquis/messages"
)

// MaxRules bounds the rules of a node: each message for which no channel was
// named is held against them in turn.
const MaxRules = 256

// RoutingRule puts messages on a channel by what they are: Foundation's
// configure_routing. A rule holds for a message that meets all its conditions;
// of several the first that holds decides.
//
// There is no order between channels. A rule that looks at size or urgency
// sends messages to one actor over several channels, and a rule by type does
// so with messages of several types: such messages may overtake each other.
type RoutingRule struct {
	Types   []string   // names of message types; empty means all
	MinSize int        // encoded bytes; smaller messages are not meant
	MaxSize int        // larger messages are not meant; 0 means no bound
	Urgency []Priority // of the send; empty means any
	Channel string     // where the message goes
}

// plan is which channels there are and what travels on which. It is replaced as
// a whole, never changed.
type plan struct {
	specs   map[string]ChannelSpec
	types   map[string]string // message type -> channel that it is bound to
	said    []RoutingRule     // the rules as they were set
	rules   []RoutingRule     // of them, those that hold for some channel
	sized   bool              // a rule looks at sizes
	chooses bool              // there are types or rules
}

// newPlan makes a plan of specs and rules. What is contradictory or leads
// nowhere is left out of it; an error says what.
func newPlan(specs map[string]ChannelSpec, rules []RoutingRule) (*plan, error) {
	p := &plan{specs: specs, types: make(map[string]string), said: slices.Clone(rules)}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		for _, t := range specs[name].Types {
			if other, taken := p.types[t]; taken && other != name {
				errs = append(errs, fmt.Errorf("channelmgr: channels %q and %q both claim messages of type %q; name it in one of them", other, name, t))
				continue
			}
			p.types[t] = name
		}
	}
	if len(rules) > MaxRules {
		rules = rules[:MaxRules]
		errs = append(errs, fmt.Errorf("channelmgr: %d routing rules; at most %d are allowed", len(rules), MaxRules))
	}
	for i, rule := range rules {
		if err := p.check(rule); err != nil {
			errs = append(errs, fmt.Errorf("channelmgr: routing rule %d: %w", i+1, err))
			continue
		}
		p.rules = append(p.rules, rule)
		p.sized = p.sized || rule.MinSize > 0 || rule.MaxSize > 0
	}
	p.chooses = len(p.types) > 0 || len(p.rules) > 0
	return p, errors.Join(errs...)
}

// check reports what is wrong with a rule.
func (p *plan) check(rule RoutingRule) error {
	switch {
	case rule.Channel == ControlChannel:
		return fmt.Errorf("channel %q is the runtime's; choose another", rule.Channel)
	case p.specs[rule.Channel].Name == "":
		return unknownChannel(rule.Channel, p.specs)
	case rule.MinSize < 0 || rule.MaxSize < 0:
		return fmt.Errorf("sizes of %d to %d bytes: neither can be negative", rule.MinSize, rule.MaxSize)
	case rule.MaxSize > 0 && rule.MinSize > rule.MaxSize:
		return fmt.Errorf("sizes of %d to %d bytes: no message is so", rule.MinSize, rule.MaxSize)
	}
	for _, u := range rule.Urgency {
		if u > Low {
			return fmt.Errorf("urgency %d: use High, Medium or Low", u)
		}
	}
	return nil
}

// pick returns the channel of a message for which none was named: that of the
// first rule that holds, else that to which its type is bound, else that of the
// message which it answers, else data.
func (p *plan) pick(typ *messages.Type, o *Outgoing) string {
	if p.chooses && !o.System {
		if name := p.choose(typ, o); name != "" {
			return name
		}
	}
	if o.Reply != "" && p.specs[o.Reply].Name != "" {
		return o.Reply
	}
	return DataChannel
}

// choose is pick where there are rules or bound types; "" if none holds.
func (p *plan) choose(typ *messages.Type, o *Outgoing) string {
	size := -1
	if p.sized {
		size = max(sizeOf(typ, o.Msg), 0) // of which only encoding tells the size counts as small
	}
	for i := range p.rules {
		r := &p.rules[i]
		switch {
		case len(r.Urgency) > 0 && !slices.Contains(r.Urgency, o.Urgency):
		case p.sized && (size < r.MinSize || r.MaxSize > 0 && size > r.MaxSize):
		case len(r.Types) > 0 && !slices.Contains(r.Types, typ.Name):
		default:
			return r.Channel
		}
	}
	return p.types[typ.Name]
}

// sizeOf is the size of a message. Code of the application may run: where it
// panics, encoding will tell.
func sizeOf(typ *messages.Type, msg any) (n int) {
	defer func() {
		if recover() != nil {
			n = -1
		}
	}()
	return typ.Size(msg)
}

// unknownChannel is the error for a name that no channel has.
func unknownChannel(name string, specs map[string]ChannelSpec) error {
	if near := nearest.Word(name, slices.Sorted(maps.Keys(specs))); near != "" {
		return fmt.Errorf("%w: %q; do you mean %q?", ErrUnknownChannel, name, near)
	}
	return fmt.Errorf("%w: %q", ErrUnknownChannel, name)
}

// Channels returns the specs of the application's channels, sorted by name.
func (r *Registry) Channels() []ChannelSpec {
	specs := r.plan.Load().specs
	list := make([]ChannelSpec, 0, len(specs))
	for _, c := range specs {
		c.Types = slices.Clone(c.Types)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b ChannelSpec) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Channel returns the spec of a channel of the application. An error wraps
// ErrUnknownChannel and names the nearest.
func (r *Registry) Channel(name string) (ChannelSpec, error) {
	specs := r.plan.Load().specs
	if c, ok := specs[name]; ok {
		return c, nil
	}
	return ChannelSpec{}, unknownChannel(name, specs)
}

// Rules returns the routing rules, in their order.
func (r *Registry) Rules() []RoutingRule { return slices.Clone(r.plan.Load().said) }

// SetRules replaces the routing rules of this node: all or, with an error, none.
func (r *Registry) SetRules(rules []RoutingRule) error {
	r.planning.Lock()
	defer r.planning.Unlock()
	p, err := newPlan(r.plan.Load().specs, rules)
	if err != nil {
		return err
	}
	r.plan.Store(p)
	return nil
}
