package libcluster

import (
	"fmt"
	"strings"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// Contact returns the address, "host:port", at which a node of an Erlang-style
// name is: "app@10.0.0.7" is at 10.0.0.7, "app@10.0.0.7:7000" says the port as
// well, which Erlang asks epmd for. Without "@" the node is a host or an
// address. port is used where none is named; 0 means discovery.DefaultPort.
func Contact(node string, port int) (string, error) {
	i := strings.LastIndexByte(node, '@')
	if i == 0 {
		return "", fmt.Errorf("libcluster: node %q: nothing stands before the @", node)
	}
	addr, err := discovery.Address(node[i+1:], port)
	if err != nil {
		return "", fmt.Errorf("libcluster: node %q: %w", node, err)
	}
	return addr, nil
}
