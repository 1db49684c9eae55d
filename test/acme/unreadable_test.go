package acme

import "testing"

// TestUnreadableAnswer: an answer that the caller has lost, as it can no longer read it, costs no second order. After
// that, the same request places another order.
func TestUnreadableAnswer(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	first := obtain(t, o, r)
	if err := client(t, o).Taken(r); err != nil {
		t.Fatal(err)
	}
	r.Lost = true
	again := obtain(t, o, r)
	if !again.Leaf.Equal(first.Leaf) || p.Orders() != 1 {
		t.Errorf("%d orders, the same certificate: %v", p.Orders(), again.Leaf.Equal(first.Leaf))
	}
	if err := client(t, o).Taken(r); err != nil {
		t.Fatal(err)
	}
	r.Lost = false
	if next := obtain(t, o, r); next.Leaf.Equal(first.Leaf) || p.Orders() != 2 {
		t.Errorf("%d orders, the same certificate: %v", p.Orders(), next.Leaf.Equal(first.Leaf))
	}
}
