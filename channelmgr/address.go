package channelmgr

import (
	"net"
	"strings"

	"github.com/maquis-go/maquis/overlay"
)

// PIDAddress is the address in PIDs of actors on a node:
// "name~incarnation@host:port". net.SplitHostPort, and with it protoactor's
// GetHostPort, can take it apart.
func PIDAddress(p overlay.Peer) string {
	return p.Name + "~" + p.Incarnation.String() + "@" + p.Addr
}

// ParsePIDAddress reads an address of a PID. It accepts
// "name~incarnation@host:port", "name@host:port", "host:port" and a bare
// "name"; what an address does not say stays zero. Names may contain "@", as
// Erlang's do. It reports false for an empty string and for an incarnation
// that is none.
func ParsePIDAddress(a string) (overlay.Peer, bool) {
	var p overlay.Peer
	if a == "" {
		return p, false
	}
	node := a
	if i := strings.LastIndexByte(a, '@'); i >= 0 && isHostPort(a[i+1:]) {
		node, p.Addr = a[:i], a[i+1:]
	} else if isHostPort(a) {
		p.Addr = a
		return p, true
	}
	if i := strings.LastIndexByte(node, '~'); i >= 0 {
		inc, err := overlay.ParseIncarnation(node[i+1:])
		if err != nil {
			return overlay.Peer{}, false
		}
		node, p.Incarnation = node[:i], inc
	}
	p.Name = node
	return p, p.Name != ""
}

func isHostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return false
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
