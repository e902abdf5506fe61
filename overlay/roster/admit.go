package roster

import (
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Admit is the rule by which a peer that shakes hands is let in. It is a pure
// function of what is known of the peer's name (have is false if nothing) and
// of whether a live link to the holder of the name, if that is another life,
// stands here. It returns why the peer is refused, or "", and the generation
// that the peer must exceed.
//
//	the name is      held by                    answer
//	unknown                                     admitted
//	known            this life                  admitted
//	down or left     this life, generation ≤ g  down, g
//	down or left     this life, generation > g  admitted
//	alive            another life, linked       name_taken, g
//	otherwise        another life               admitted, g: it takes g+1
//
// A newcomer from the very address of the holder is admitted too: it could not
// have bound the socket while the holder lived.
func Admit(known Member, have bool, peer overlay.Peer, generation uint64, linkAlive bool) (why messages.Reason, remembered uint64) {
	switch {
	case !have:
		return "", 0
	case known.Peer.Incarnation == peer.Incarnation:
		if known.Status >= StatusDown && generation <= known.Generation {
			return messages.ReasonDown, known.Generation
		}
		return "", 0
	case known.Status == StatusAlive && linkAlive && known.Peer.Addr != peer.Addr:
		return messages.ReasonNameTaken, known.Generation
	}
	return "", known.Generation
}
