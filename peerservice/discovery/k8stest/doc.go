// Package k8stest tests package discovery against Kubernetes' own types. It is
// a module of its own, so that those are no dependency of ours.
package k8stest
