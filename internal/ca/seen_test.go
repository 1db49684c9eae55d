package ca

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/durable"
)

// A serial that no row has is found without another pass over index.txt. A serial that a row has is never called free,
// and neither is one that another program has just used.
func TestFreeSerialWithoutAnotherPass(t *testing.T) {
	dir := t.TempDir()
	dice := rand.New(rand.NewPCG(1, 2))
	draw := func() *big.Int { return new(big.Int).SetUint64(dice.Uint64()&^(3<<62) | 1<<62) }
	row := func(n *big.Int) []byte {
		return []byte("V\t361231000000Z\t\t" + FormatSerial(n) + "\tunknown\t/CN=x\n")
	}
	var rows []*big.Int
	var text []byte
	for range 20_000 {
		rows = append(rows, draw())
		text = append(text, row(rows[len(rows)-1])...)
	}
	index := filepath.Join(dir, indexName)
	if err := errors.Join(os.WriteFile(index, text, 0o644),
		os.Mkdir(filepath.Join(dir, NewCertsDir), 0o755)); err != nil {
		t.Fatal(err)
	}
	db, err := readDatabase(dir, question{})
	if err != nil {
		t.Fatal(err)
	}
	passes := 0
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "read" && path == index {
			passes++
		}
		return nil
	})
	defer undo()
	const draws = 200
	for range draws {
		if used, err := db.used(draw()); used || err != nil {
			t.Fatalf("a serial that no row has: %v, %v", used, err)
		}
	}
	if passes > draws/20 {
		t.Errorf("%d passes for %d serials that no row has", passes, draws)
	}
	for _, n := range rows[:50] {
		if used, err := db.used(n); !used || err != nil {
			t.Fatalf("%s has a row: %v, %v", FormatSerial(n), used, err)
		}
	}
	for range 20 {
		n := draw()
		text = append(text, row(n)...)
		if err := os.WriteFile(index, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if used, err := db.used(n); !used || err != nil {
			t.Fatalf("%s has a new row of another program: %v, %v", FormatSerial(n), used, err)
		}
	}
}

// An overview that was asked for before the look needs no pass of its own over index.txt.
func TestOverviewWithoutAnotherPass(t *testing.T) {
	o, d := made(t)
	for _, name := range []string{"a.example.org", "b.example.org"} {
		r := request(t)
		r.Name = name
		if _, err := Issue(context.Background(), d, o, r, crand.Reader, start); err != nil {
			t.Fatal(err)
		}
	}
	passes := 0
	defer durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "read" && path == filepath.Join(o.Dir, indexName) {
			passes++
		}
		return nil
	})()
	for _, c := range []struct {
		filter Filter
		want   int
	}{{Filter{}, 2}, {Filter{Overview: start}, 1}} {
		passes = 0
		counts, next, err := Overview(Observe(o.Dir, c.filter), start, 5)
		if err != nil || counts.Valid != 2 || len(next) != 2 || passes != c.want {
			t.Errorf("%+v: %d passes, want %d; %+v %d %v", c.filter, passes, c.want, counts, len(next), err)
		}
	}
}
