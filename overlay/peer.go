package overlay

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/maquis-go/maquis/messages"
)

// Time is a moment in nanoseconds since the driver began. It is monotonic and
// has no meaning outside its driver: only durations travel between nodes.
type Time int64

// Never is later than every moment a driver can reach.
const Never Time = math.MaxInt64

// Add returns t+d, saturating at the ends of the range.
func (t Time) Add(d time.Duration) Time {
	s := t + Time(d)
	switch {
	case d > 0 && s < t:
		return Never
	case d < 0 && s > t:
		return math.MinInt64
	}
	return s
}

// Sub returns the duration t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// String renders the moment in seconds with three decimals, as in scripts.
func (t Time) String() string {
	return strconv.FormatFloat(float64(t)/1e9, 'f', 3, 64) + "s"
}

// Incarnation identifies one life of a node: 64 random bits, never zero,
// compared for equality only.
type Incarnation uint64

// String is the form in PID addresses: base 36, lower case.
func (i Incarnation) String() string { return strconv.FormatUint(uint64(i), 36) }

// ParseIncarnation reads the form that String writes. Zero is refused.
func ParseIncarnation(s string) (Incarnation, error) {
	u, err := strconv.ParseUint(s, 36, 64)
	if err != nil || u == 0 {
		return 0, fmt.Errorf("overlay: %q is not an incarnation", s)
	}
	return Incarnation(u), nil
}

// Peer names one life of a node and where it can be reached. It is a
// comparable value. A Peer with an empty Name is a contact: an address from
// a seed list or discovery of which nothing else is known yet.
type Peer struct {
	Name        string
	Incarnation Incarnation
	Addr        string // "host:port", the address advertised or, for a contact, the one to dial
}

// IsContact reports whether only the address is known.
func (p Peer) IsContact() bool { return p.Name == "" }

// Same reports whether p and q are the same life of the same node, whatever
// their addresses.
func (p Peer) Same(q Peer) bool { return p.Name == q.Name && p.Incarnation == q.Incarnation }

// Life is one life of a node, wherever it is reached.
type Life struct {
	Name        string
	Incarnation Incarnation
}

// Life returns which life of which node p is.
func (p Peer) Life() Life { return Life{p.Name, p.Incarnation} }

// Compare orders lives by (name, incarnation).
func (l Life) Compare(o Life) int {
	return cmp.Or(cmp.Compare(l.Name, o.Name), cmp.Compare(l.Incarnation, o.Incarnation))
}

// Compare orders peers by (name, incarnation), then address. The order
// decides between simultaneous dials and makes iteration deterministic.
func (p Peer) Compare(q Peer) int {
	return cmp.Or(cmp.Compare(p.Name, q.Name), cmp.Compare(p.Incarnation, q.Incarnation), cmp.Compare(p.Addr, q.Addr))
}

// String is "name" where that says enough for a reader: contacts are printed
// as "@addr".
func (p Peer) String() string {
	if p.IsContact() {
		return "@" + p.Addr
	}
	return p.Name
}

// MaxName bounds a node's name and its address on the wire, in bytes.
const MaxName = 255

// Ref is the wire form of a peer; nil for the zero Peer.
func Ref(p Peer) *messages.NodeRef {
	if p.Name == "" {
		return nil
	}
	return &messages.NodeRef{Name: p.Name, Incarnation: uint64(p.Incarnation), Addr: p.Addr}
}

// PeerOf reads the wire form. It reports whether the peer names a life: whatever
// else comes from a peer is not to be kept.
func PeerOf(n *messages.NodeRef) (p Peer, ok bool) {
	p = Peer{Name: n.GetName(), Incarnation: Incarnation(n.GetIncarnation()), Addr: n.GetAddr()}
	return p, p.Name != "" && len(p.Name) <= MaxName && p.Incarnation != 0 && len(p.Addr) <= MaxName
}

// DialableOf is PeerOf for one that is to be dialed: it has an address, too.
func DialableOf(n *messages.NodeRef) (p Peer, ok bool) {
	p, ok = PeerOf(n)
	return p, ok && p.Addr != ""
}
