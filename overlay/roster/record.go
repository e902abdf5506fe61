package roster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Status is what is known of a member.
type Status uint8

// Statuses, in the order in which they win within a version.
const (
	StatusAlive Status = iota
	StatusSuspect
	StatusDown
	StatusLeft
)

// String returns the status's name.
func (s Status) String() string {
	return [...]string{"alive", "suspect", "down", "left"}[min(s, 3)]
}

// Limits of a record, in bytes and entries.
const (
	MaxMembers  = 16384
	maxName     = 255
	maxTags     = 64
	maxTagBytes = 1 << 10
	maxAddrs    = 8
	maxKinds    = 256
	maxMetadata = 1 << 10
	// maxJump bounds how far a peer may push a generation or version at once:
	// a forged one shall not use the number range up.
	maxJump = 1 << 32
)

// Record is a member as its owner describes it.
type Record struct {
	Peer       overlay.Peer // Addr is the first of Addrs
	Generation uint64
	Version    uint64
	Addrs      []string
	Tags       map[string]string
	Kinds      []string
	AppVersion string
	Metadata   []byte
	Leaving    bool
}

// Member is a record with what is known of its owner.
type Member struct {
	Record
	Status Status
}

// encode makes the bytes in which a record travels.
func (r Record) encode() []byte {
	m := &messages.RosterRecord{
		Name: r.Peer.Name, Incarnation: uint64(r.Peer.Incarnation), Generation: r.Generation, Version: r.Version,
		Addrs: r.Addrs, Kinds: r.Kinds, AppVersion: r.AppVersion, Metadata: r.Metadata, Leaving: r.Leaving,
	}
	for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
		m.Tags = append(m.Tags, &messages.RosterTag{Key: k, Value: r.Tags[k]})
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("roster: our own record cannot be encoded: %v", err))
	}
	return b
}

// decodeRecord reads a record that a peer sent and checks it against the
// limits.
func decodeRecord(b []byte) (Record, error) {
	m := new(messages.RosterRecord)
	if err := proto.Unmarshal(b, m); err != nil {
		return Record{}, err
	}
	r := Record{
		Peer:       overlay.Peer{Name: m.GetName(), Incarnation: overlay.Incarnation(m.GetIncarnation())},
		Generation: m.GetGeneration(), Version: m.GetVersion(), Addrs: m.GetAddrs(), Kinds: m.GetKinds(),
		AppVersion: m.GetAppVersion(), Metadata: m.GetMetadata(), Leaving: m.GetLeaving(),
	}
	if len(m.GetTags()) > maxTags {
		return Record{}, errors.New("too many tags")
	}
	for _, t := range m.GetTags() {
		if r.Tags == nil {
			r.Tags = make(map[string]string)
		}
		r.Tags[t.GetKey()] = t.GetValue()
	}
	if len(r.Addrs) > 0 {
		r.Peer.Addr = r.Addrs[0]
	}
	return r, r.Validate()
}

// Validate reports what is beyond the limits.
func (r Record) Validate() error {
	size := 0
	for k, v := range r.Tags {
		size += len(k) + len(v)
	}
	switch {
	case r.Peer.Name == "" || len(r.Peer.Name) > maxName:
		return fmt.Errorf("roster: a name of %d bytes; 1 to %d are allowed", len(r.Peer.Name), maxName)
	case r.Peer.Incarnation == 0 || r.Generation == 0 || r.Version == 0:
		return errors.New("roster: incarnation, generation and version cannot be zero")
	case len(r.Addrs) == 0 || len(r.Addrs) > maxAddrs:
		return fmt.Errorf("roster: %d addresses; 1 to %d are allowed", len(r.Addrs), maxAddrs)
	case size > maxTagBytes || len(r.Tags) > maxTags:
		return fmt.Errorf("roster: %d tags of %d bytes; at most %d of %d are allowed", len(r.Tags), size, maxTags, maxTagBytes)
	case len(r.Kinds) > maxKinds || len(r.Metadata) > maxMetadata || len(r.AppVersion) > maxName:
		return errors.New("roster: kinds, metadata or version are too long")
	}
	for _, s := range slices.Concat(r.Addrs, r.Kinds) {
		if s == "" || len(s) > maxName {
			return fmt.Errorf("roster: an address or kind of %d bytes; 1 to %d are allowed", len(s), maxName)
		}
	}
	return nil
}

// state is what decides which of two accounts of a name is the newer.
type state struct {
	incarnation overlay.Incarnation
	generation  uint64
	version     uint64
	status      Status
}

// compare orders accounts of one name. A higher generation wins; within one
// generation two lives of a name are told apart by number, so that all nodes
// pick the same; down and left are final; else the higher version wins, and
// suspicion within a version.
func (a state) compare(b state) int {
	if c := cmp.Compare(a.generation, b.generation); c != 0 {
		return c
	}
	if c := cmp.Compare(a.incarnation, b.incarnation); c != 0 {
		return c
	}
	if a.status >= StatusDown || b.status >= StatusDown {
		return cmp.Compare(a.status, b.status)
	}
	return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.status, b.status))
}

// entry is what the machine keeps of a name.
type entry struct {
	rec       Record
	raw       []byte // rec as its owner encoded it; nil when only a claim is known
	status    Status
	observers []string // of a suspicion
	changed   overlay.Time
	neighbor  bool // an overlay has a link to it
	lost      bool // a link was lost and none has come back
}

func (e *entry) state() state {
	return state{e.rec.Peer.Incarnation, e.rec.Generation, e.rec.Version, e.status}
}
