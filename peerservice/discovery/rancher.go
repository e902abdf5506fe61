package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Rancher finds the containers of this container's service by the metadata
// service of Rancher 1.x; each one's first address counts.
type Rancher struct {
	URL      string        // of the service's metadata: http://rancher-metadata/latest/self/service
	Port     int           // DefaultPort
	Interval time.Duration // between questions: 5 s; ten minutes once calm

	dial dialFunc // of tests
}

// Validate reports every option that cannot be.
func (r Rancher) Validate() error {
	errs := []error{checkPort("rancher", r.Port), checkInterval("rancher", r.Interval)}
	if u, err := url.Parse(r.url()); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("discovery: rancher: URL is %q; use http://rancher-metadata/latest/self/service", r.URL))
	}
	return errors.Join(errs...)
}

func (r Rancher) url() string {
	return cmp.Or(r.URL, "http://rancher-metadata/latest/self/service")
}

func (r Rancher) String() string { return "rancher " + r.url() }

// Run implements Strategy.
func (r Rancher) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := r.Validate(); err != nil {
		return err
	}
	client, err := newClient("rancher", "", false, r.dial)
	if err != nil {
		return err
	}
	defer client.close()
	interval := cmp.Or(r.Interval, 5*time.Second)
	poller{interval: interval, calm: max(interval, calmInterval)}.run(ctx, emit, func(ctx context.Context) (Snapshot, time.Duration) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		var doc json.RawMessage
		if _, err := client.getJSON(ctx, http.MethodGet, r.url(), nil, nil, &doc); err != nil {
			return failed(err), waitOf(err)
		}
		return rancherList(doc, r.Port), 0
	})
	return nil
}

// rancherList reads {"containers": [{"name", "ips": [...]}]}.
func rancherList(doc []byte, port int) Snapshot {
	var s struct {
		Containers *[]struct {
			Name  string   `json:"name"`
			IPs   []string `json:"ips"`
			IP    string   `json:"primary_ip"`
			State string   `json:"state"`
		} `json:"containers"`
	}
	if err := json.Unmarshal(doc, &s); err != nil {
		return failed(fmt.Errorf("discovery: rancher: the answer: %w", err))
	}
	if s.Containers == nil {
		return failed(errors.New("discovery: rancher: the answer names no containers; is the URL that of a service?"))
	}
	var list []Candidate
	var errs []error
	for _, c := range *s.Containers {
		ip := c.IP
		if len(c.IPs) > 0 {
			ip = c.IPs[0]
		}
		if ip == "" { // it has none yet
			continue
		}
		addr, err := Address(strings.TrimSpace(ip), port)
		if err != nil {
			if len(errs) < tooManyErrors {
				errs = append(errs, fmt.Errorf("discovery: rancher: container %s: %w", c.Name, err))
			}
			continue
		}
		list = append(list, Candidate{Addr: addr, Name: c.Name, Terminating: c.State == "stopping"})
	}
	out := whole(list)
	if len(errs) > 0 {
		out.Partial, out.Err = true, errors.Join(append(errs, out.Err)...)
	}
	return out
}
