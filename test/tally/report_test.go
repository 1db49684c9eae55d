package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A module with one test of each fate.
const fates = `package fates

import (
	"os"
	"testing"
	"time"
)

func TestPasses(t *testing.T) {}
func TestSkips(t *testing.T)  { t.Skip("there is no moon") }
func TestFails(t *testing.T)  { t.Error("one is not two") }

func TestHangs(t *testing.T) {
	if os.Getenv("FATE") != "hang" {
		t.Skip("not asked")
	}
	t.Log("it waits for a reader")
	time.Sleep(time.Hour)
}

func TestPanics(t *testing.T) {
	if os.Getenv("FATE") != "panic" {
		t.Skip("not asked")
	}
	t.Log("just before")
	panic("out of the blue")
}
`

// The real go command runs a test of each fate, and each is told by its name with what it said.
func TestTally(t *testing.T) {
	dir := t.TempDir()
	tally := filepath.Join(dir, "tally")
	if out, err := exec.Command("go", "build", "-o", tally, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, text := range map[string]string{"go.mod": "module fates\n\ngo 1.26\n", "fates_test.go": fates} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		fate    string
		numbers string
		says    []string
	}{
		{"none", "1 2 3", []string{"FAIL  fates TestFails", "one is not two", "skip  fates TestSkips: there is no moon"}},
		{"hang", "", []string{"nothing has happened for 2s", "fates TestHangs, for ", "it waits for a reader", "fates_test.go:18"}},
		{"panic", "", []string{"FAIL  fates TestPanics", "just before", "out of the blue"}},
	} {
		t.Run(c.fate, func(t *testing.T) {
			numbers := filepath.Join(t.TempDir(), "numbers")
			cmd := exec.Command(tally, "-C", dir, "-stall", "2s", "-numbers", numbers, "--", "-count=1", ".")
			cmd.Env = append(os.Environ(), "FATE="+c.fate)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err == nil {
				t.Error("exit status 0 with a failed test")
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q", want)
				}
			}
			got, err := os.ReadFile(numbers)
			if err != nil || c.numbers != "" && strings.TrimSpace(string(got)) != c.numbers {
				t.Errorf("numbers %q, %v", got, err)
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}
