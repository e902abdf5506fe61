package k8stest

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// server answers a list with one document, and a watch with lines, in the
// encoding of Kubernetes' own types.
func server(t *testing.T, list any, watch ...metav1.WatchEvent) (url, credentials string) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		enc := json.NewEncoder(w)
		if r.URL.Query().Get("watch") == "" {
			enc.Encode(list)
			return
		}
		for _, ev := range watch {
			enc.Encode(ev)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, data := range map[string][]byte{"ca.crt": ca, "token": []byte("t"), "namespace": []byte("shop")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s.URL, dir
}

func event(t *testing.T, kind string, object any) metav1.WatchEvent {
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: b}}
}

// expect runs k until it has emitted what is wanted.
func expect(t *testing.T, k discovery.Kubernetes, want []discovery.Candidate) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var last discovery.Snapshot
	if err := k.Run(ctx, func(s discovery.Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		if last = s; reflect.DeepEqual(s.Candidates, want) && s.OK() {
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !reflect.DeepEqual(last.Candidates, want) {
		t.Fatalf("found %+v, error %v; want %+v", last.Candidates, last.Err, want)
	}
}

func ptr[T any](v T) *T { return &v }

func endpointSlice(version string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta:  metav1.ObjectMeta{Name: "orders-x", Namespace: "shop", ResourceVersion: version, Labels: map[string]string{discoveryv1.LabelServiceName: "orders"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   endpoints,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr("cluster"), Port: ptr(int32(7000))}},
	}
}

func endpoint(ip, pod string, c discoveryv1.EndpointConditions) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{ip}, Conditions: c, Hostname: ptr(pod), Zone: ptr("eu-1a"), NodeName: ptr("w1"),
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: pod, UID: "u"},
	}
}

func TestEndpointSlices(t *testing.T) {
	ready := discoveryv1.EndpointConditions{Ready: ptr(true), Serving: ptr(true), Terminating: ptr(false)}
	ending := discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(true), Terminating: ptr(true)}
	list := &discoveryv1.EndpointSliceList{ListMeta: metav1.ListMeta{ResourceVersion: "10"}, Items: []discoveryv1.EndpointSlice{
		*endpointSlice("9", endpoint("10.0.0.1", "orders-0", ready))}}
	changed := endpointSlice("11", endpoint("10.0.0.1", "orders-0", ending), endpoint("10.0.0.2", "orders-1", discoveryv1.EndpointConditions{}))
	bookmark := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "20"}}
	url, dir := server(t, list, event(t, "BOOKMARK", bookmark), event(t, "MODIFIED", changed))
	k := discovery.Kubernetes{Service: "orders", PortName: "cluster", APIURL: url, CredentialsDir: dir}
	expect(t, k, []discovery.Candidate{
		{Addr: "10.0.0.1:7000", Name: "orders-0", Zone: "eu-1a", Terminating: true},
		{Addr: "10.0.0.2:7000", Name: "orders-1", Zone: "eu-1a"},
	})
	k.Address = "hostname"
	expect(t, k, []discovery.Candidate{
		{Addr: "orders-0.orders.shop.svc.cluster.local:7000", Name: "orders-0", Zone: "eu-1a", Terminating: true},
		{Addr: "orders-1.orders.shop.svc.cluster.local:7000", Name: "orders-1", Zone: "eu-1a"},
	})
}

func TestPods(t *testing.T) {
	pod := func(name string, ips ...corev1.PodIP) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", ResourceVersion: "5", Labels: map[string]string{corev1.LabelTopologyZone: "z"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{Name: "peer", ContainerPort: 9}}}}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: ips},
		}
	}
	ending := pod("b", corev1.PodIP{IP: "10.0.0.2"})
	ending.DeletionTimestamp = ptr(metav1.NewTime(time.Unix(1_700_000_000, 0)))
	done := pod("c", corev1.PodIP{IP: "10.0.0.3"})
	done.Status.Phase = corev1.PodSucceeded
	added := pod("d", corev1.PodIP{IP: "10.0.0.4"})
	gone := pod("e", corev1.PodIP{IP: "10.0.0.5"})
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "10"}, Items: []corev1.Pod{pod("a", corev1.PodIP{IP: "10.0.0.1"}, corev1.PodIP{IP: "fd00::1"}), ending, done, gone}}
	url, dir := server(t, list, event(t, "ADDED", &added), event(t, "DELETED", &gone))
	expect(t, discovery.Kubernetes{Source: "pods", Selector: "app=orders", PortName: "peer", APIURL: url, CredentialsDir: dir}, []discovery.Candidate{
		{Addr: "10.0.0.1:9", Name: "a", Zone: "z"},
		{Addr: "[fd00::1]:9", Name: "a", Zone: "z"},
		{Addr: "10.0.0.2:9", Name: "b", Zone: "z", Terminating: true},
		{Addr: "10.0.0.4:9", Name: "d", Zone: "z"},
	})
}

// An error event is a Status, whose "status" is a word where a pod has an
// object: the watch ends with 410 and a list follows.
func TestGone(t *testing.T) {
	expired := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: "too old resource version"}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "10"}}
	url, dir := server(t, list, event(t, "ERROR", &expired))
	k := discovery.Kubernetes{Source: "pods", Selector: "a=b", APIURL: url, CredentialsDir: dir}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n := 0
	if err := k.Run(ctx, func(s discovery.Snapshot) {
		if !s.OK() {
			t.Errorf("410 is no failure, but %v", s.Err)
		}
		if n++; n == 3 {
			cancel()
		}
	}); err != nil || n < 3 {
		t.Fatalf("%d lists, %v", n, err)
	}
}
