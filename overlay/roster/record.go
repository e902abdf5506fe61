package roster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Limits of a record, in bytes and entries. All are our choice.
const (
	MaxMembers  = 16384
	maxName     = 255
	maxTags     = 64
	maxTagBytes = 1 << 10
	maxAddrs    = 8
	maxKinds    = 256
	maxKindSum  = 4 << 10
	maxMetadata = 1 << 10
	maxRecord   = 12 << 10 // encoded, with fields that we do not know
)

// Bounds of the numbers that peers say.
const (
	// maxNumber bounds generations and versions, so that one more always fits.
	maxNumber = 1 << 62
	// maxJump bounds how far above what is known a peer may push another's
	// generation; maxOwnJump how far it may push ours. The second is much the
	// smaller, so that nobody we talk to takes an honest return for a forgery.
	maxJump    = 1 << 40
	maxOwnJump = 1 << 20
)

// Record is a member as its owner describes it. It is immutable once it was
// given to a machine or came from one: maps and slices are shared.
type Record struct {
	Peer       overlay.Peer // Addr is the first of Addrs
	Generation uint64
	Version    uint64
	Addrs      []string
	Tags       map[string]string
	Kinds      []string
	AppVersion string
	Metadata   []byte
	Leaving    bool // the node is draining: it takes no new work

	raw []byte // the owner's original bytes, which is how a record travels
}

// Member is a record with what is known of its owner. The record is shared and
// must not be changed; one that nobody has is empty, not nil.
type Member struct {
	*Record
	Status Status
}

// String is the member on one line: name, generation, version, status, addresses.
func (m Member) String() string {
	if m.Record == nil {
		m.Record = Nobody.Record
	}
	return fmt.Sprintf("%s g%d v%d %s %s", m.Peer.Name, m.Generation, m.Version, m.Status, strings.Join(m.Addrs, " "))
}

// Nobody is the Member of whom nothing is known.
var Nobody = Member{Record: new(Record)}

// encode makes the bytes in which a record travels. Only its owner does this.
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
// limits. The record keeps b.
func decodeRecord(b []byte) (*Record, error) {
	if len(b) > maxRecord {
		return nil, fmt.Errorf("roster: a record of %d bytes; at most %d are allowed", len(b), maxRecord)
	}
	m := new(messages.RosterRecord)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	r := &Record{
		Peer:       overlay.Peer{Name: m.GetName(), Incarnation: overlay.Incarnation(m.GetIncarnation())},
		Generation: m.GetGeneration(), Version: m.GetVersion(), Addrs: m.GetAddrs(), Kinds: m.GetKinds(),
		AppVersion: m.GetAppVersion(), Metadata: m.GetMetadata(), Leaving: m.GetLeaving(), raw: b,
	}
	if len(m.GetTags()) > maxTags {
		return nil, fmt.Errorf("roster: %d tags; at most %d are allowed", len(m.GetTags()), maxTags)
	}
	for _, t := range m.GetTags() {
		if r.Tags == nil {
			r.Tags = make(map[string]string, len(m.GetTags()))
		}
		r.Tags[t.GetKey()] = t.GetValue()
	}
	if len(r.Addrs) > 0 {
		r.Peer.Addr = r.Addrs[0]
	}
	return r, r.Validate()
}

// Validate reports the first thing that is beyond the limits.
func (r Record) Validate() error {
	tags, kinds := 0, 0
	for k, v := range r.Tags {
		tags += len(k) + len(v)
	}
	for _, k := range r.Kinds {
		kinds += len(k)
	}
	switch {
	case r.Peer.Name == "" || len(r.Peer.Name) > maxName:
		return fmt.Errorf("roster: a name of %d bytes; 1 to %d are allowed", len(r.Peer.Name), maxName)
	case r.Peer.Incarnation == 0 || r.Generation == 0 || r.Version == 0:
		return errors.New("roster: incarnation, generation and version cannot be zero")
	case r.Generation > maxNumber || r.Version > maxNumber:
		return fmt.Errorf("roster: generation %d, version %d; at most %d is allowed", r.Generation, r.Version, uint64(maxNumber))
	case len(r.Addrs) == 0 || len(r.Addrs) > maxAddrs:
		return fmt.Errorf("roster: %d addresses; 1 to %d are allowed", len(r.Addrs), maxAddrs)
	case r.Peer.Addr != r.Addrs[0]:
		return fmt.Errorf("roster: the address %q is not the first of %q", r.Peer.Addr, r.Addrs)
	case tags > maxTagBytes || len(r.Tags) > maxTags:
		return fmt.Errorf("roster: %d tags of %d bytes; at most %d of together %d are allowed", len(r.Tags), tags, maxTags, maxTagBytes)
	case len(r.Kinds) > maxKinds || kinds > maxKindSum:
		return fmt.Errorf("roster: %d kinds of %d bytes; at most %d of together %d are allowed", len(r.Kinds), kinds, maxKinds, maxKindSum)
	case len(r.Metadata) > maxMetadata || len(r.AppVersion) > maxName:
		return fmt.Errorf("roster: metadata of %d bytes, a version of %d; at most %d and %d are allowed", len(r.Metadata), len(r.AppVersion), maxMetadata, maxName)
	}
	for _, list := range [...][]string{r.Addrs, r.Kinds} {
		for _, s := range list {
			if s == "" || len(s) > maxName {
				return fmt.Errorf("roster: an address or kind of %d bytes; 1 to %d are allowed", len(s), maxName)
			}
		}
	}
	return nil
}
