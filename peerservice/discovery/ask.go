package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Parts returns the sources that a strategy asks: those of a Merge or a
// Fallback, what Auto chooses, or else the strategy itself.
func Parts(s Strategy) []Strategy {
	var list []Strategy
	switch s := s.(type) {
	case merged:
		list = s.list
	case fallback:
		list = s.list
	case keep:
		list = []Strategy{s.Strategy}
	case auto:
		if d := Detect(); d.Err == nil {
			list = []Strategy{d.Strategy}
		}
	}
	if list == nil {
		return []Strategy{s}
	}
	var all []Strategy
	for _, x := range list {
		all = append(all, Parts(x)...)
	}
	return all
}

// Ask runs s until it has answered, for wait at most, and returns the answer. A
// strategy that listens, Multicast, is heard for as long as all are to have spoken
// in, if wait allows. One that says nothing in time is an error. Ask a part at a
// time: of several (see Parts) the first to answer would be all that is heard.
func Ask(ctx context.Context, s Strategy, wait time.Duration) Snapshot {
	var listen time.Duration
	if m, ok := s.(Multicast); ok {
		listen = min(cmp.Or(m.Interval, mcInterval)*5/4+time.Second, wait)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers, ended := make(chan Snapshot), make(chan error, 1)
	go func() {
		ended <- runSafely(ctx, s, func(got Snapshot) {
			select {
			case answers <- got:
			case <-ctx.Done():
			}
		})
	}()
	enough := time.After(listen)
	var last Snapshot
	heard := false
	for {
		select {
		case last = <-answers:
			if heard = true; listen == 0 {
				cancel()
				<-ended
				return last
			}
		case err := <-ended: // ctx has ended, or its options are invalid
			switch {
			case heard:
				return last
			case err == nil:
				err = fmt.Errorf("no answer within %v", wait)
			}
			return failed(fmt.Errorf("discovery: %s: %w", Describe(s), err))
		case <-enough:
			if enough = nil; listen > 0 {
				cancel()
			}
		}
	}
}

// Missing returns the manifests, as YAML for kubectl, of what a source lacks by
// its answer: the role where the API server forbids to list, the headless service
// where a name of a cluster's DNS does not exist or a service has no pods. It is ""
// where nothing of the kind is missing.
func Missing(s Strategy, got Snapshot) string {
	switch s := s.(type) {
	case Kubernetes:
		if codeOf(got.Err) == 403 {
			return s.Role()
		}
		if got.OK() && len(got.Candidates) == 0 && s.Service != "" {
			return headless(s.Service, s.namespace(), cmp.Or(s.Port, DefaultPort))
		}
	case DNS:
		var e *noName
		if errors.As(got.Err, &e) {
			if service, namespace, ok := serviceOf(e.name); ok {
				return headless(service, namespace, cmp.Or(s.Port, DefaultPort))
			}
		}
	}
	return ""
}

// serviceOf takes the name of a service of Kubernetes apart:
// SERVICE.NAMESPACE.svc…, the labels of an SRV record before it or not.
func serviceOf(name string) (service, namespace string, ok bool) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for len(labels) > 0 && strings.HasPrefix(labels[0], "_") {
		labels = labels[1:]
	}
	switch {
	case len(labels) > 2 && labels[2] == "svc":
		return labels[0], labels[1], true
	case len(labels) > 3 && labels[3] == "svc": // of a pod
		return labels[1], labels[2], true
	case len(labels) == 1 && os.Getenv("KUBERNETES_SERVICE_HOST") != "": // of the pod's own namespace
		return labels[0], Kubernetes{}.namespace(), true
	}
	return "", "", false
}

// headless is the manifest of a service that names pods before they are ready:
// they become so by finding each other.
func headless(service, namespace string, port int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: %[1]s}
  ports: [{name: cluster, port: %[3]d}]
`, service, namespace, port)
}

// noName is the answer of DNS that a name, or a record of it, does not exist.
type noName struct{ name string }

func (e *noName) Error() string {
	return fmt.Sprintf("discovery: dns %s: no such name or no such record; is it right, and does a headless service publish addresses that are not ready?", e.name)
}
