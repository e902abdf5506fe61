package discovery

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Times of Consul. Our choice; wait is below the ten minutes that an agent
// allows (developer.hashicorp.com/consul/api-docs/features/blocking).
const (
	consulWait = 5 * time.Minute
	consulRest = time.Second // the least time between questions, by the same page
	consulTTL  = 15 * time.Second
	consulDrop = 10 * time.Minute // after which a node that died is deregistered
)

// Consul finds the instances of a service, by blocking queries to an agent;
// once calm it asks about every ten minutes. With Register it announces this
// node as an instance, with a check that is renewed while Run runs, and needs
// WithSelf.
type Consul struct {
	Service string
	Tags    []string // which instances must all have
	URL     string   // of the agent: $CONSUL_HTTP_ADDR, or else http://127.0.0.1:8500
	// Token is the ACL token; TokenFile is read for each request. Default:
	// $CONSUL_HTTP_TOKEN.
	Token, TokenFile string
	Datacenter       string // default: the agent's
	Filter           string // an expression in Consul's language
	CAFile           string // authorities, in PEM; default: the system's
	// Passing leaves out instances whose checks do not pass. A node that passes
	// only once it has joined would never be found by others with it.
	Passing bool
	// Register announces this node, at its first address.
	Register bool
	Port     int // of instances that name none: DefaultPort

	dial dialFunc // of tests
}

// Validate reports every option that cannot be.
func (c Consul) Validate() error {
	errs := []error{checkPort("consul", c.Port)}
	if c.Service == "" {
		errs = append(errs, errors.New("discovery: consul: Service is empty; name the service"))
	}
	if c.Token != "" && c.TokenFile != "" {
		errs = append(errs, errors.New("discovery: consul: Token and TokenFile are both set; use one"))
	}
	if u, err := url.Parse(c.base()); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("discovery: consul: URL is %q; use http://host:8500", c.base()))
	}
	return errors.Join(errs...)
}

func (c Consul) String() string { return "consul service " + c.Service }

func (c Consul) base() string {
	u := strings.TrimSuffix(cmp.Or(c.URL, os.Getenv("CONSUL_HTTP_ADDR"), "http://127.0.0.1:8500"), "/")
	if !strings.Contains(u, "://") {
		u = "http://" + u
	}
	return u
}

func (c Consul) header() (http.Header, error) {
	token := cmp.Or(c.Token, os.Getenv("CONSUL_HTTP_TOKEN"))
	if c.TokenFile != "" {
		var err error
		if token, err = secretFile(c.TokenFile); err != nil {
			return nil, fmt.Errorf("discovery: consul: %w", err)
		}
	}
	h := http.Header{}
	if token != "" {
		h.Set("X-Consul-Token", token)
	}
	return h, nil
}

// Run implements Strategy.
func (c Consul) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := c.Validate(); err != nil {
		return err
	}
	client, err := newClient("consul", c.CAFile, false, c.dial)
	if err != nil {
		return err
	}
	defer client.close()
	emit = serial(emit)
	var wg sync.WaitGroup
	defer wg.Wait()
	if self, _ := SelfOf(ctx); c.Register && !self.Quiet {
		self, err := announced(ctx, "consul")
		if err != nil {
			return err
		}
		wg.Go(func() { c.announce(ctx, client, self, emit) })
	}
	c.follow(ctx, client, emit)
	return nil
}

// follow asks until ctx ends.
func (c Consul) follow(ctx context.Context, client *client, emit func(Snapshot)) {
	index := uint64(0)
	wait := newBackoff(consulRest, time.Minute)
	for {
		calm, changed := PaceOf(ctx).Calm()
		if calm {
			index = 0 // a plain question
		}
		s, next, err := c.ask(ctx, client, index, changed)
		calmNow, _ := PaceOf(ctx).Calm()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && calmNow != calm: // a question was broken off
			index = 0
			continue
		case err != nil:
			emit(failed(err))
			index = 0
			if !pause(ctx, max(wait.next(), waitOf(err)), changed, calm) {
				return
			}
			continue
		}
		emit(s)
		wait.reset()
		// An index that went back, as after a restart of the servers, begins
		// anew; so does one that is none.
		if next < index {
			next = 0
		}
		index = next
		rest := jitter(consulRest)
		if calm {
			rest = jitter(calmInterval)
		}
		if !pause(ctx, rest, changed, calm) {
			return
		}
	}
}

// consulEntry is an instance, as /v1/health/service tells.
type consulEntry struct {
	Node struct {
		Node, Address string
		Meta          map[string]string
	}
	Service struct {
		ID, Address string
		Port        int
		Meta        map[string]string
	}
}

// ask sends one question; one with an index waits for a change.
func (c Consul) ask(ctx context.Context, client *client, index uint64, changed <-chan struct{}) (Snapshot, uint64, error) {
	q := url.Values{}
	limit := askTimeout
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", fmt.Sprintf("%ds", int(consulWait.Seconds())))
		limit += consulWait + consulWait/16 // which the agent adds, at random
	}
	for _, t := range c.Tags {
		q.Add("tag", t)
	}
	if c.Passing {
		q.Set("passing", "true")
	}
	for k, v := range map[string]string{"dc": c.Datacenter, "filter": c.Filter} {
		if v != "" {
			q.Set(k, v)
		}
	}
	header, err := c.header()
	if err != nil {
		return Snapshot{}, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if index > 0 { // a change of pace breaks it off
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-changed:
				cancel()
			case <-stop:
			}
		}()
	}
	var entries []consulEntry
	h, err := client.getJSON(ctx, http.MethodGet, c.base()+"/v1/health/service/"+url.PathEscape(c.Service)+"?"+q.Encode(), header, nil, &entries)
	if err != nil {
		return Snapshot{}, 0, err
	}
	next, _ := strconv.ParseUint(h.Get("X-Consul-Index"), 10, 64)
	return c.snapshot(entries), next, nil
}

func (c Consul) snapshot(entries []consulEntry) Snapshot {
	var list []Candidate
	var errs []error
	for _, e := range entries {
		host := cmp.Or(e.Service.Address, e.Node.Address)
		addr, err := "", checkHost(host)
		if err == nil {
			addr, err = Address(net.JoinHostPort(host, strconv.Itoa(cmp.Or(e.Service.Port, c.Port, DefaultPort))), 0)
		}
		if err != nil {
			if len(errs) < tooManyErrors {
				errs = append(errs, fmt.Errorf("discovery: consul: instance %s: %w", e.Service.ID, err))
			}
			continue
		}
		list = append(list, Candidate{Addr: addr, Name: cmp.Or(e.Service.Meta["maquis-node"], e.Service.ID), Zone: cmp.Or(e.Service.Meta["zone"], e.Node.Meta["zone"])})
	}
	s := whole(list)
	if len(errs) > 0 {
		s.Partial, s.Err = true, errors.Join(append(errs, s.Err)...)
	}
	return s
}

// announce registers this node and renews its check until ctx ends, then
// deregisters it. An agent that forgot it, as after a restart, is told again.
func (c Consul) announce(ctx context.Context, client *client, self Self, emit func(Snapshot)) {
	id := c.Service + "-" + strings.ToLower(rand.Text()[:12]) // each run has its own: a late farewell takes no successor down
	put := func(ctx context.Context, path string, body any) error {
		header, err := c.header()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		_, err = client.getJSON(ctx, http.MethodPut, c.base()+"/v1/agent/"+path, header, body, nil)
		return err
	}
	host, port, _ := net.SplitHostPort(self.Addrs[0])
	n, _ := strconv.Atoi(port)
	service := map[string]any{
		"ID": id, "Name": c.Service, "Tags": c.Tags, "Address": host, "Port": n,
		"Meta": map[string]string{"maquis-node": self.Name, "maquis-cluster": self.Cluster, "zone": self.Zone},
		"Check": map[string]any{
			"CheckID": "service:" + id, "TTL": consulTTL.String(), "Status": "passing",
			"DeregisterCriticalServiceAfter": consulDrop.String(),
		},
	}
	defer func() { // in time, though ctx has ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = put(ctx, "service/deregister/"+id, nil)
	}()
	registered, failing := false, false
	for {
		var err error
		if !registered {
			err = put(ctx, "service/register", service)
			registered = err == nil
		} else if err = put(ctx, "check/pass/service:"+id, nil); codeOf(err) == 404 || codeOf(err) == 500 {
			registered = false // "unknown check"
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			emit(failed(fmt.Errorf("discovery: consul: this node is not announced: %w", err)))
		}
		failing = err != nil
		if !sleep(ctx, jitter(consulTTL/3)) {
			return
		}
	}
}
