package roster

import (
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Admit is the rule by which a peer that shakes hands is let in, over a
// snapshot: what is known of its name (have is false if nothing), and whether
// a live link to the holder of the name stands here. It returns why the peer
// is refused, or "", and the generation that is remembered of the name.
//
// While another life of the name is alive the newcomer is refused, unless it
// comes from the very address of the holder, whose socket it could not have
// bound otherwise. A life that was declared down up to a generation is told
// so and may return with a higher one.
func Admit(known Member, have bool, peer overlay.Peer, generation uint64, linkAlive bool) (why messages.Reason, remembered uint64) {
	if !have {
		return "", 0
	}
	if known.Peer.Incarnation == peer.Incarnation {
		if known.Status >= StatusDown && generation <= known.Generation {
			return messages.ReasonDown, known.Generation
		}
		return "", 0
	}
	if known.Status == StatusAlive && linkAlive && known.Peer.Addr != peer.Addr {
		return messages.ReasonNameTaken, known.Generation
	}
	return "", known.Generation
}
