package channelmgr

import "strings"

// A message that asks for more than its channel gives travels on the channel's
// twin: a channel of its own, on the same links, of the same spec but for its
// mode. Between a channel and its twin there is no order. Names of channels
// have no plus sign, so a twin's clashes with none.
const (
	twinMark   = "+"
	ackTwin    = twinMark + "ack"
	causalTwin = twinMark + "causal"
)

// maxWireChannels is how many channels and twins a peer may name.
const maxWireChannels = 3 * MaxChannels

// baseName is the name of the channel that a name on the wire belongs to.
func baseName(name string) string {
	base, _, _ := strings.Cut(name, twinMark)
	return base
}

// wireNames are the names of a channel and its twins on the wire.
func wireNames(name string) []string { return []string{name, name + ackTwin, name + causalTwin} }

// twin returns the spec of a channel's twin.
func (c ChannelSpec) twin(name string) ChannelSpec {
	if name == c.Name {
		return c
	}
	c.Delivery, c.Ordering = AtLeastOnce, FIFO
	if name == c.Name+causalTwin {
		c.Ordering = Causal
	}
	if c.drops() {
		c.Overflow = Block
	}
	return c
}
