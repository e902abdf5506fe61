package actors

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// reservedTags begins the keys of tags that the runtime and what is built on
// it set; SetTags leaves them alone.
const reservedTags = "maquis."

// aliasTag holds the aliases of a node, with commas between them.
const aliasTag = reservedTags + "aliases"

// tags are the tags of this node: the application's and the reserved ones.
type tags struct {
	mu            sync.Mutex
	own, reserved map[string]string
}

func (t *tags) init(own map[string]string, aliases []string) {
	t.own, t.reserved = maps.Clone(own), map[string]string{}
	if len(aliases) > 0 {
		t.reserved[aliasTag] = strings.Join(aliases, ",")
	}
}

// all returns both kinds. The lock is held, or nobody else knows t.
func (t *tags) all() map[string]string {
	all := maps.Clone(t.own)
	if all == nil {
		all = make(map[string]string, len(t.reserved))
	}
	maps.Copy(all, t.reserved)
	return all
}

// change replaces one of the kinds, if the members can be told.
func (d *Distribution) change(kind *map[string]string, value map[string]string) error {
	before := *kind
	*kind = value
	err := d.service.SetTags(d.tags.all())
	if err != nil {
		*kind = before
	}
	return err
}

// SetTags replaces this node's tags; all members hear of it. Those whose keys
// begin with "maquis." are not the application's: they stay as they are.
func (d *Distribution) SetTags(tags map[string]string) error {
	for k := range tags {
		if strings.HasPrefix(k, reservedTags) {
			return fmt.Errorf("maquis: tag %q: keys that begin with %q are reserved; use another, or SetTag", k, reservedTags)
		}
	}
	d.tags.mu.Lock()
	defer d.tags.mu.Unlock()
	return d.change(&d.tags.own, maps.Clone(tags))
}

// SetTag sets one tag of this node and leaves the others, or removes it if the
// value is empty.
func (d *Distribution) SetTag(key, value string) error {
	d.tags.mu.Lock()
	defer d.tags.mu.Unlock()
	return d.setTag(key, value)
}

func (d *Distribution) setTag(key, value string) error {
	kind := &d.tags.own
	if strings.HasPrefix(key, reservedTags) {
		kind = &d.tags.reserved
	}
	next := maps.Clone(*kind)
	if next == nil {
		next = make(map[string]string)
	}
	next[key] = value
	if value == "" {
		delete(next, key)
	}
	return d.change(kind, next)
}

// AddAliases names further addresses, "host:port", under which PIDs may name
// this node, here and on all other nodes: for PIDs that were made before
// Maquis, or by protoactor's remote. Nobody dials them. One whose host is
// unspecified (0.0.0.0 or ::) means this node only here.
func (d *Distribution) AddAliases(addrs ...string) error {
	if err := checkAliases(addrs); err != nil {
		return err
	}
	d.tags.mu.Lock()
	defer d.tags.mu.Unlock()
	var list []string
	if known := d.tags.reserved[aliasTag]; known != "" {
		list = strings.Split(known, ",")
	}
	for _, a := range addrs {
		host, _, _ := net.SplitHostPort(a)
		if ip := net.ParseIP(host); !slices.Contains(list, a) && (ip == nil || !ip.IsUnspecified()) {
			list = append(list, a)
		}
	}
	if err := d.setTag(aliasTag, strings.Join(list, ",")); err != nil {
		return err
	}
	local := maps.Clone(*d.aliases.Load())
	for _, a := range addrs {
		local[a] = true
	}
	d.aliases.Store(&local)
	return nil
}

func checkAliases(addrs []string) error {
	for _, a := range addrs {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" || strings.Contains(a, ",") {
			return fmt.Errorf("maquis: alias %q: use host:port", a)
		}
	}
	return nil
}

// answersTo reports whether a bare "host:port" means a member.
func answersTo(m roster.Member, addr string) bool {
	if slices.Contains(m.Addrs, addr) {
		return true
	}
	for rest := m.Tags[aliasTag]; rest != ""; {
		var a string
		if a, rest, _ = strings.Cut(rest, ","); a == addr {
			return true
		}
	}
	return false
}

// byAddress is the member that a process means of which only an address is
// known, or empty.
func (p *process) byAddress() string {
	if name := p.found.Load(); name != nil {
		if m, ok := p.d.service.Lookup(*name); ok && m.Status < roster.StatusDown && answersTo(m, p.addr) {
			return *name
		}
	}
	for _, m := range p.d.service.View().Members {
		if answersTo(m, p.addr) && m.Peer.Name != p.d.registry.Self().Name {
			p.found.Store(&m.Peer.Name)
			return m.Peer.Name
		}
	}
	return ""
}

// Name is this node's name.
func (d *Distribution) Name() string { return d.registry.Self().Name }

// Addrs returns the addresses of a member, "host:port": those it advertises,
// best first, then its aliases. It is nil for a node that is not known.
func (d *Distribution) Addrs(node string) []string {
	m, ok := d.service.Lookup(node)
	if !ok {
		return nil
	}
	list := slices.Clone(m.Addrs)
	if a := m.Tags[aliasTag]; a != "" {
		list = append(list, strings.Split(a, ",")...)
	}
	return list
}

// Address is the address of PIDs of actors on this node,
// "name~incarnation@host:port".
func (d *Distribution) Address() string { return d.address }

// Address is the address of PIDs of actors in this life of the member,
// "name~incarnation@host:port".
func (m Member) Address() string {
	addr := ""
	if len(m.Addrs) > 0 {
		addr = m.Addrs[0]
	}
	return channelmgr.PIDAddress(overlay.Peer{Name: m.Name, Incarnation: m.Incarnation, Addr: addr})
}
