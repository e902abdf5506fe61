package introduce

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// verdict is what a reason means for the next attempt.
type verdict uint8

const (
	absent   verdict = iota // nobody answered, or not now
	stranger                // somebody did, and will say the same next time
)

// words are the reasons that Join may give, in the words of messages.Reason,
// with what an operator can do about each.
var words = map[string]struct {
	verdict verdict
	remedy  string
}{
	"refused":       {absent, "nothing listens there: is the node up, and is the port the cluster's?"},
	"timeout":       {absent, "no answer: is the host up, and does a firewall or network policy let the port through?"},
	"unreachable":   {absent, "no way to that network: is the address one that this node can reach?"},
	"name":          {absent, "the host name does not resolve: does it exist, and does this node ask the right DNS server?"},
	"reset":         {absent, "the connection broke: the node may be starting, or something between closes connections"},
	"silent":        {absent, "the connection is up and nothing comes: the node may be paused or overloaded"},
	"limit":         {absent, "the node has as many connections as it allows; it is tried again"},
	"down":          {absent, "the cluster had declared this node down; it comes back in its next generation"},
	"wrong_secret":  {stranger, "give both nodes the same secret, or add the other's to those accepted here"},
	"wrong_cluster": {stranger, "the node is of another cluster: correct the cluster's name, or what the source names"},
	"wrong_name":    {stranger, "another node answers there than the certificate or the record says"},
	"wrong_mode":    {stranger, "one side speaks TLS, the other does not: use the same security mode on both"},
	"version":       {stranger, "no protocol version in common: upgrade the older node"},
	"certificate":   {stranger, "the certificate is expired, not yet valid or of another authority; are the clocks right?"},
	"not_maquis":    {stranger, "something else listens there: is the port the cluster's?"},
	"name_taken":    {stranger, "another live node has this node's name: give one of them another"},
	"self":          {stranger, "the address leads back to this node"},
	"address":       {stranger, "the source names an address that cannot be dialed from here"},
	"disconnected":  {stranger, "an operator disconnected the peer; join it by hand to undo that"},
}

func verdictOf(reason string) verdict { return words[reason].verdict }

// Remedy says what an operator can do about a reason; "" for words it does not
// know.
func Remedy(reason string) string { return words[reason].remedy }

// ReasonOf is the reason of an error of the standard library.
func ReasonOf(err error) string {
	var dns *net.DNSError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dns):
		return "name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return "error"
}

// Undialable says why nobody at addr could be meant by a source elsewhere, ""
// if somebody could.
func Undialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "it is not host:port"
	}
	if port == "0" {
		return "port 0 is nobody's"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "" // a name
	}
	switch ip = ip.Unmap(); {
	case ip.IsUnspecified():
		return "the unspecified address is where one listens, not where one is"
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a group's address is nobody's"
	case ip.IsLinkLocalUnicast() && ip.Zone() == "":
		return "a link-local address says nothing without its interface"
	}
	return ""
}
