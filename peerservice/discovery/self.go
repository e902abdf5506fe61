package discovery

import (
	"context"
	"fmt"
	"strings"
)

// Self is this node, as strategies announce it to others: Local, Multicast,
// Consul and Etcd.
type Self struct {
	Cluster string
	Name    string
	Zone    string   // may be empty
	Addrs   []string // "host:port" at which it can be dialed, best first
	Secrets []string // of the cluster: the first is used, all are accepted
	Quiet   bool     // strategies only look and listen: this node is not announced
}

// String names the node without its secrets.
func (s Self) String() string {
	return fmt.Sprintf("%s of %s at %s", s.Name, s.Cluster, strings.Join(s.Addrs, ","))
}

// GoString hides the secrets too.
func (s Self) GoString() string { return "discovery.Self{" + s.String() + "}" }

type selfKey struct{}

// WithSelf returns a context that tells strategies run under it who they run
// for. Strategies that announce need it, the others ignore it.
func WithSelf(ctx context.Context, s Self) context.Context {
	return context.WithValue(ctx, selfKey{}, s)
}

// SelfOf returns the Self that ctx carries.
func SelfOf(ctx context.Context) (Self, bool) {
	s, ok := ctx.Value(selfKey{}).(Self)
	return s, ok
}

// announced is the Self of a strategy that cannot work without one.
func announced(ctx context.Context, strategy string) (Self, error) {
	s, ok := SelfOf(ctx)
	if !ok || s.Cluster == "" || len(s.Addrs) == 0 && !s.Quiet {
		return s, fmt.Errorf("discovery: %s announces this node and needs its cluster and addresses; run it under WithSelf", strategy)
	}
	return s, nil
}
