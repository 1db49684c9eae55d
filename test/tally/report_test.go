package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fates is a module with one test for each outcome. Another module, with one test that passes, runs beside it.
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

// The real go command runs the module. tally must report each test by its name, with its output.
func TestTally(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	tally := filepath.Join(dir, "tally")
	if out, err := exec.Command("go", "build", "-o", tally, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, text := range map[string]string{
		dir + "/go.mod": "module fates\n\ngo 1.26\n", dir + "/fates_test.go": fates,
		other + "/go.mod":        "module other\n\ngo 1.26\n",
		other + "/other_test.go": "package other\n\nimport \"testing\"\n\nfunc TestToo(t *testing.T) {}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		fate    string
		stall   string // a loaded machine builds for some seconds
		numbers string
		says    []string
	}{
		{"none", "60s", "2 2 3", []string{"FAIL  fates TestFails", "one is not two",
			"skip  fates TestSkips: there is no moon"}},
		{"hang", "20s", "", []string{"nothing has happened for 20s", "fates TestHangs, for ", "it waits for a reader",
			"fates_test.go:18"}},
		{"panic", "60s", "", []string{"FAIL  fates TestPanics", "just before", "out of the blue"}},
	} {
		t.Run(c.fate, func(t *testing.T) {
			t.Parallel()
			numbers := filepath.Join(t.TempDir(), "numbers")
			cmd := exec.Command(tally, "-stall", c.stall, "-numbers", numbers, "--", "FATE="+c.fate, "nice", "-C", dir,
				"-count=1", ".", "+", "-C", other, "-count=1", ".")
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
