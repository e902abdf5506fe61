// Package docs holds the documentation, and tests that keep the project's
// rules: who may import whom, what machines may touch, what is documented, and
// that the programs in the docs run.
package docs
