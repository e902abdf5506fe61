package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address makes "host:port" of an entry that may lack the port and may be an
// IPv6 address with or without brackets; port 0 stands for DefaultPort.
func Address(entry string, port int) (string, error) {
	if port == 0 {
		port = DefaultPort
	}
	host, p := entry, strconv.Itoa(port)
	if _, err := netip.ParseAddr(entry); err != nil { // not a bare address
		switch i := strings.LastIndexByte(entry, ':'); {
		case strings.HasPrefix(entry, "[") && strings.HasSuffix(entry, "]"):
			host = entry[1 : len(entry)-1]
			if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
				return "", badAddress(entry, "what is in brackets must be an IPv6 address")
			}
		case i >= 0:
			h, q, err := net.SplitHostPort(entry)
			if err != nil {
				return "", badAddress(entry, "use host, host:port or [IPv6]:port")
			}
			host, p = h, q
		}
	}
	if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
		return "", badAddress(entry, fmt.Sprintf("port %q is not a number from 1 to 65535", p))
	}
	if err := checkHost(host); err != nil {
		return "", badAddress(entry, err.Error())
	}
	return net.JoinHostPort(host, p), nil
}

func badAddress(entry, why string) error {
	if len(entry) > 80 {
		entry = entry[:80] + "…"
	}
	return fmt.Errorf("discovery: address %q: %s", entry, why)
}

// checkHost refuses what can be neither an IP address nor a DNS name.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if host == "" {
		return fmt.Errorf("the host is empty")
	}
	if len(host) > 254 { // RFC 1035 §2.3.4, and a final dot
		return fmt.Errorf("the host has %d bytes; a DNS name has at most 253", len(host))
	}
	for _, label := range strings.Split(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("the labels of a DNS name have 1 to 63 bytes")
		}
		for _, r := range label {
			if r > 127 || !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
				return fmt.Errorf("%q does not belong in a host name", r)
			}
		}
	}
	return nil
}

// checkPort validates a Port option.
func checkPort(strategy string, port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("discovery: %s: Port is %d; use 1 to 65535, or 0 for %d", strategy, port, DefaultPort)
	}
	return nil
}
