// Package faults makes disk operations of mailcertd fail, or kills it at them. Afterwards openssl's programs judge
// whether one ensure has made everything right.
package faults

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	every = flag.Bool("every", false, "each operation, not a sample")
	most  = flag.Int("most", 1, "operations of each scenario and fault that are tried, without -every")
	some  = flag.String("fault", "", "only faults whose names match this `expression`, and all of those")
)

// fault is what happens at one operation.
type fault struct {
	name    string
	set     string // an environment variable, with %d for the number of the operation
	reads   bool   // the number counts reads, else changes
	errno   string
	lasting bool
	writes  bool // only for writes and appends
}

func (f fault) kills() bool { return f.errno == "" }

var errnoText = map[string]string{"ENOSPC": "no space left", "EIO": "input/output error",
	"EROFS":  "read-only file system",
	"EMFILE": "too many open files", "EACCES": "permission denied", "EDQUOT": "disk quota exceeded"}

// faults returns all faults. An error that no read returns is used for changes only.
func faults() []fault {
	all := []fault{
		{name: "kill", set: "MAILCERTD_CRASH_AT=%d"},
		{name: "torn write", set: "MAILCERTD_TORN_AT=%d", writes: true},
		{name: "short write", set: "MAILCERTD_FAULT=change %d ENOSPC short", writes: true, errno: "ENOSPC"},
	}
	for _, kind := range []string{"change", "read"} {
		for _, errno := range []string{"ENOSPC", "EIO", "EROFS", "EMFILE", "EACCES", "EDQUOT"} {
			for _, last := range []string{"once", "lasting"} {
				if kind == "change" || !strings.Contains("ENOSPC EROFS EDQUOT", errno) {
					all = append(all, fault{name: kind + " " + errno + " " + last,
						set:   "MAILCERTD_FAULT=" + kind + " %d " + errno + " " + last,
						reads: kind == "read", errno: errno, lasting: last == "lasting"})
				}
			}
		}
	}
	return all
}

// rootless matches the names of roots in output, which differ from run to run.
var rootless = regexp.MustCompile(`/[a-z/]*/faults\d+/r\d+`)

// shortForm is how many kinds of errors each scenario meets in the short form. All scenarios meet kills and torn
// writes.
const shortForm = 5

// TestFaults runs each scenario with each fault.
func TestFaults(t *testing.T) {
	p := build(t)
	for i, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			start := p.start(t, s)
			was, err := see(start)
			if err != nil {
				t.Fatal(err)
			}
			if err := was.pair(); err == nil == s.broken && s.verb != "purge --yes" {
				t.Logf("the start: broken is %t, and yet: %v", s.broken, err)
			}
			changes, reads := p.lists(t, s, start)
			if len(reads) < 5 {
				t.Fatalf("%d reads", len(reads))
			}
			for j, f := range faults() {
				if ok, err := regexp.MatchString(*some, f.name); err != nil {
					t.Fatal(err)
				} else if !ok {
					continue
				}
				if *some == "" && !*every && *most < 2 && j > 2 && (i+j)%(len(faults())/shortForm) != 0 {
					continue
				}
				ops := changes
				if f.reads {
					ops = reads
				}
				var can []int
				for n, op := range ops {
					if !f.writes || strings.Contains(op, " write ") || strings.Contains(op, " append ") {
						can = append(can, n+1)
					}
				}
				met := 0
				tried := points(s.name+f.name, can, f.kills())
				for _, n := range tried {
					ok, err := p.try(t, s, f, n, start, was)
					if err != nil {
						t.Errorf("%s: %s: %s\n%s", s.name, fmt.Sprintf(f.set, n), ops[n-1],
							rootless.ReplaceAllString(err.Error(), ""))
					}
					if ok {
						met++
					}
				}
				if met == 0 && len(can) > 0 {
					t.Errorf("%s was not met", f.name)
				}
				t.Logf("%s: %d of %d", f.name, met, len(can))
			}
		})
	}
}

// points returns the operations to try: all, or a sample spread over them. The sample is the same in each run.
func points(seed string, can []int, kills bool) (out []int) {
	want := *most
	if kills {
		want *= 2
	}
	if *every || len(can) <= want {
		return can
	}
	h := fnv.New32a()
	h.Write([]byte(seed))
	step := len(can) / want
	for i := range want {
		out = append(out, can[i*step+int(h.Sum32()%uint32(step))])
	}
	return out
}

// try runs the scenario's command with the fault at operation n, and judges the result. met reports whether the command
// reached that operation.
func (p programs) try(t *testing.T, s scenario, f fault, n int, start string, was look) (met bool, err error) {
	root := place(t)
	defer os.RemoveAll(root)
	clone(t, start, root)
	first := p.do(s, p.armed, root, fmt.Sprintf(f.set, n))
	if f.kills() && !first.killed {
		return false, nil
	}
	now, err := see(root)
	if err != nil {
		return true, err
	}
	old(root, now)
	var all []error
	if err := s.during(was, now, first, f); err != nil {
		all = append(all, fmt.Errorf("at once: %w", err))
	}
	env := []string{"was=" + serialOf(start), "waskey=" + keyOf(start)}
	if first.code == 0 && !(s.chore && strings.Contains(first.err, "could not ")) {
		if out, err := p.shell(root, s.right, env); err != nil {
			all = append(all, fmt.Errorf("it says that it did it, and did not: %w\n%s", err, out))
		}
	}
	if err := p.heals(s, root, env, was); err != nil {
		all = append(all, err)
	}
	if s.again && first.code != 0 {
		if e := p.do(s, p.plain, root, "X="); e.code != 0 && !done(e.err) {
			all = append(all, fmt.Errorf("the same verb again: %s", e))
		} else if l, err := see(root); err != nil || len(l.left) > 0 && strings.HasPrefix(s.verb, "issue") {
			all = append(all, fmt.Errorf("the same verb again: left behind: %v, %w", l.left, err))
		}
	}
	if len(all) > 0 {
		all = append(all, fmt.Errorf("the verb: %s", first))
	}
	return true, errors.Join(all...)
}

// done reports whether a command refused because what it should do is already done.
func done(text string) bool {
	return strings.Contains(text, "is there already")
}

func serialOf(root string) string {
	out, _ := exec.Command("openssl", "x509", "-noout", "-serial", "-in", root+"/etc/mail/certs/host.cert").Output()
	return strings.TrimSpace(string(out))
}

func keyOf(root string) string {
	out, _ := exec.Command("openssl", "pkey", "-pubout", "-in", root+"/etc/mail/certs/host.key").Output()
	return fmt.Sprintf("%x  -", sha256.Sum256(out))
}
