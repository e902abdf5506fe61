package sim

import (
	"math/rand/v2"
	"time"
)

// Graph is the overlay as the HyParView paper measures it (section 5.3), over
// the nodes that live: an edge goes from each node to each of its neighbors.
type Graph struct {
	// Clustering is the mean of the nodes' clustering coefficients: the part of
	// the pairs of a node's neighbors that are neighbors of each other.
	Clustering float64 `json:"clustering"`
	// AvgPath and MaxPath are over the shortest paths from up to 200 nodes to
	// all that they reach.
	AvgPath float64 `json:"avg_path"`
	MaxPath int     `json:"max_path"`
	// Degree maps a degree to the number of nodes that have it.
	Degree map[int]int `json:"degree"`
	// InDegree is the same by who has the node as a neighbor; it differs only
	// where there are asymmetric edges.
	InDegree map[int]int `json:"-"`
	// Asymmetric is the number of edges whose opposite is missing.
	Asymmetric int `json:"asymmetric"`
	// Components counts the parts that edges of either direction connect, and
	// Largest the nodes of the largest.
	Components int `json:"components"`
	Largest    int `json:"largest_component"`
	Nodes      int `json:"-"`
	Edges      int `json:"-"`
}

// Graph measures the overlay now.
func (w *World) Graph() Graph {
	index := make([]int32, len(w.lives))
	var nodes []int32
	for i := range index {
		index[i] = -1
	}
	for _, at := range w.hosts {
		if !w.lives[at].dead {
			index[at] = int32(len(nodes))
			nodes = append(nodes, at)
		}
	}
	adjacent := make([][]int32, len(nodes))
	for i, at := range nodes {
		for _, n := range w.lives[at].neighbors {
			if index[n] >= 0 {
				adjacent[i] = append(adjacent[i], index[n])
			}
		}
	}
	return measure(adjacent, w.Stream("paths"))
}

// MeanCost is the mean, over all edges of the overlay, of the time from end to
// end without chance.
func (w *World) MeanCost() time.Duration {
	sum, n := time.Duration(0), 0
	for _, at := range w.hosts {
		if w.lives[at].dead {
			continue
		}
		for _, to := range w.lives[at].neighbors {
			if !w.lives[to].dead {
				sum += w.cfg.Link.base(w.lives[at].host, w.lives[to].host)
				n++
			}
		}
	}
	if n == 0 {
		return 0
	}
	return sum / time.Duration(n)
}

// measure measures a directed graph.
func measure(adjacent [][]int32, rng *rand.Rand) Graph {
	n := len(adjacent)
	g := Graph{Degree: make(map[int]int), InDegree: make(map[int]int), Nodes: n}
	in := make([]int32, n)
	mark := make([]int32, n) // mark[j] == i+1: j is adjacent to i
	both := make([][]int32, n)
	cluster := 0.0
	for i, list := range adjacent {
		g.Degree[len(list)]++
		g.Edges += len(list)
		for _, j := range list {
			mark[j] = int32(i + 1)
			in[j]++
			both[i] = append(both[i], j)
			both[j] = append(both[j], int32(i))
		}
		pairs := 0
		for _, j := range list {
			back := false
			for _, k := range adjacent[j] {
				back = back || k == int32(i)
				if k != int32(i) && mark[k] == int32(i+1) {
					pairs++
				}
			}
			if !back {
				g.Asymmetric++
			}
		}
		if d := len(list); d > 1 {
			cluster += float64(pairs) / float64(d*(d-1))
		}
	}
	if n > 0 {
		g.Clustering = cluster / float64(n)
	}
	for _, d := range in {
		g.InDegree[int(d)]++
	}
	g.Components, g.Largest = components(both)
	g.AvgPath, g.MaxPath = paths(adjacent, rng)
	return g
}

func components(adjacent [][]int32) (count, largest int) {
	seen := make([]bool, len(adjacent))
	var stack []int32
	for i := range adjacent {
		if seen[i] {
			continue
		}
		count++
		size := 0
		seen[i] = true
		for stack = append(stack[:0], int32(i)); len(stack) > 0; {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			size++
			for _, u := range adjacent[v] {
				if !seen[u] {
					seen[u] = true
					stack = append(stack, u)
				}
			}
		}
		largest = max(largest, size)
	}
	return count, largest
}

// sources is how many nodes shortest paths are measured from.
const sources = 200

func paths(adjacent [][]int32, rng *rand.Rand) (mean float64, longest int) {
	n := len(adjacent)
	from := rng.Perm(n)[:min(n, sources)]
	distance := make([]int32, n)
	var queue []int32
	sum, pairs := 0.0, 0
	for _, s := range from {
		for i := range distance {
			distance[i] = -1
		}
		distance[s] = 0
		queue = append(queue[:0], int32(s))
		for head := 0; head < len(queue); head++ {
			v := queue[head]
			for _, u := range adjacent[v] {
				if distance[u] < 0 {
					distance[u] = distance[v] + 1
					queue = append(queue, u)
				}
			}
		}
		for _, v := range queue[1:] {
			sum += float64(distance[v])
		}
		pairs += len(queue) - 1
		longest = max(longest, int(distance[queue[len(queue)-1]]))
	}
	if pairs > 0 {
		mean = sum / float64(pairs)
	}
	return mean, longest
}
