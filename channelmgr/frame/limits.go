package frame

import (
	"fmt"

	"github.com/maquis-go/maquis/messages"
)

// MaxNumber is beyond every number of a flow. It leaves room, so that sums of
// numbers from a peer cannot overflow.
const MaxNumber = 1 << 62

// Limits in bytes.
const (
	MaxControl = 64 << 10  // a frame on a control link
	MaxData    = 256 << 10 // a frame on a data link
	MaxPiece   = 64 << 10  // the body of one piece of a split message
	MaxID      = 1024      // an actor's id, an address
	MaxName    = 512       // a type's or channel's name, a header's key
	MaxHeaders = 64        // entries of a message's header
	MaxHeader  = 16 << 10  // bytes of a message's header, keys and values
)

// CheckIDs returns an error with messages.ReasonTooLarge if an id or address
// that the application chose is beyond MaxID. What is beyond a limit must not
// be encoded: the peer would end the link.
func CheckIDs(ids ...string) error {
	for _, id := range ids {
		if len(id) > MaxID {
			return &Error{messages.ReasonTooLarge, fmt.Sprintf("an id of %d bytes that begins with %q, the limit is %d", len(id), id[:16], MaxID)}
		}
	}
	return nil
}

// CheckHeader does the same for a message's header.
func CheckHeader(h map[string]string) error {
	if len(h) > MaxHeaders {
		return &Error{messages.ReasonTooLarge, fmt.Sprintf("a header of %d entries, the limit is %d", len(h), MaxHeaders)}
	}
	size := 0
	for k, v := range h {
		if len(k) > MaxName {
			return &Error{messages.ReasonTooLarge, fmt.Sprintf("a header's key of %d bytes, the limit is %d", len(k), MaxName)}
		}
		size += len(k) + len(v)
	}
	if size > MaxHeader {
		return &Error{messages.ReasonTooLarge, fmt.Sprintf("a header of %d bytes, the limit is %d", size, MaxHeader)}
	}
	return nil
}
