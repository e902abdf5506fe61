package discovery

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// kubeObject is what is read of an endpoint slice (discovery.k8s.io/v1), a pod
// (v1), or a status, which is what an event of type ERROR carries.
type kubeObject struct {
	Metadata struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		ResourceVersion   string            `json:"resourceVersion"`
		DeletionTimestamp string            `json:"deletionTimestamp"`
		Labels            map[string]string `json:"labels"`
	} `json:"metadata"`

	AddressType string         `json:"addressType"`
	Endpoints   []kubeEndpoint `json:"endpoints"`
	Ports       []kubePort     `json:"ports"`

	Spec struct {
		Hostname   string `json:"hostname"`
		Subdomain  string `json:"subdomain"`
		Containers []struct {
			Ports []kubePort `json:"ports"`
		} `json:"containers"`
	} `json:"spec"`
	Status kubePodStatus `json:"status"`

	Code    int    `json:"code"`
	Message string `json:"message"`
}

type kubePort struct {
	Name          string `json:"name"`
	Port          int    `json:"port"`          // of a slice
	ContainerPort int    `json:"containerPort"` // of a container
}

type kubeEndpoint struct {
	Addresses  []string `json:"addresses"`
	Hostname   string   `json:"hostname"`
	Zone       string   `json:"zone"`
	Conditions struct {
		Ready       *bool `json:"ready"` // absent: unknown, to be taken for ready
		Terminating bool  `json:"terminating"`
	} `json:"conditions"`
	TargetRef struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"targetRef"`
}

// kubePodStatus is that of a pod; of a Status object the same key holds a word.
type kubePodStatus struct {
	Phase string
	IPs   []string
	Ready bool
}

// UnmarshalJSON reads a pod's status and ignores the word in a Status object.
func (s *kubePodStatus) UnmarshalJSON(b []byte) error {
	*s = kubePodStatus{}
	if len(b) == 0 || b[0] != '{' {
		return nil
	}
	var raw struct {
		Phase  string `json:"phase"`
		PodIP  string `json:"podIP"`
		PodIPs []struct {
			IP string `json:"ip"`
		} `json:"podIPs"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	s.Phase = raw.Phase
	for _, ip := range raw.PodIPs {
		s.IPs = append(s.IPs, ip.IP)
	}
	if len(s.IPs) == 0 && raw.PodIP != "" {
		s.IPs = []string{raw.PodIP}
	}
	for _, c := range raw.Conditions {
		s.Ready = s.Ready || c.Type == "Ready" && c.Status == "True"
	}
	return nil
}

// candidates are those that an object names. An error names the ones that had
// to be left out.
func (k Kubernetes) candidates(o kubeObject) ([]Candidate, error) {
	if k.pods() {
		return k.ofPod(o)
	}
	var list []Candidate
	var errs []error
	port := k.port(o.Ports)
	for _, e := range o.Endpoints {
		if k.ReadyOnly && e.Conditions.Ready != nil && !*e.Conditions.Ready {
			continue
		}
		name := cmp.Or(e.TargetRef.Name, e.Hostname)
		for _, ip := range e.Addresses {
			addr, err := k.address(ip, e.Hostname, o.Metadata.Namespace, port)
			if err != nil {
				errs = append(errs, fmt.Errorf("discovery: kubernetes: endpoint slice %s, pod %s: %w", o.Metadata.Name, name, err))
				continue
			}
			list = append(list, Candidate{Addr: addr, Name: name, Zone: e.Zone, Terminating: e.Conditions.Terminating})
		}
	}
	return list, errors.Join(errs...)
}

func (k Kubernetes) ofPod(o kubeObject) ([]Candidate, error) {
	st := o.Status
	if st.Phase == "Succeeded" || st.Phase == "Failed" || k.ReadyOnly && !st.Ready {
		return nil, nil
	}
	var ports []kubePort
	for _, c := range o.Spec.Containers {
		ports = append(ports, c.Ports...)
	}
	port := k.port(ports)
	var list []Candidate
	var errs []error
	for _, ip := range st.IPs {
		addr, err := k.address(ip, o.Spec.Hostname, o.Metadata.Namespace, port)
		if err != nil {
			errs = append(errs, fmt.Errorf("discovery: kubernetes: pod %s: %w", o.Metadata.Name, err))
			continue
		}
		list = append(list, Candidate{
			Addr: addr, Name: o.Metadata.Name, Zone: o.Metadata.Labels["topology.kubernetes.io/zone"],
			Terminating: o.Metadata.DeletionTimestamp != "",
		})
	}
	return list, errors.Join(errs...)
}

// port is the one named PortName, or else Port.
func (k Kubernetes) port(ports []kubePort) int {
	for _, p := range ports {
		if k.PortName != "" && p.Name == k.PortName {
			return cmp.Or(p.Port, p.ContainerPort)
		}
	}
	return cmp.Or(k.Port, DefaultPort)
}

// address is "host:port" in the form that Address asks for.
func (k Kubernetes) address(ip, hostname, namespace string, port int) (string, error) {
	namespace = cmp.Or(namespace, k.Namespace)
	if port < 1 || port > 65535 {
		return "", fmt.Errorf("port %d is none", port)
	}
	host := ip
	switch k.Address {
	case "hostname":
		if hostname == "" {
			return "", errors.New("it has no host name, which only pods of a StatefulSet have; use Address ip")
		}
		host = fmt.Sprintf("%s.%s.%s.svc.%s", hostname, k.Service, namespace, k.domain())
	case "dns":
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return "", badAddress(ip, "it is no IP address")
		}
		host = fmt.Sprintf("%s.%s.pod.%s", strings.NewReplacer(".", "-", ":", "-").Replace(a.String()), namespace, k.domain())
	}
	if err := checkHost(host); err != nil {
		return "", badAddress(host, err.Error())
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
