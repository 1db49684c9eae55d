package durable

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The system calls are those that the comment of Commit lists. No other test notices a missing fsync, because the
// machine does not lose its power.
func TestSystemCalls(t *testing.T) {
	if dir := os.Getenv("DURABLE_STRACE"); dir != "" { // this is the child
		s := OpenSet(&Disk{}, dir)
		if err := s.Stage("host.key", []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit([]Step{{Op: OpInstall, Name: "host.key", Digest: hexSum([]byte("new"))},
			{Op: OpLink, Name: "0.0", Target: "cacert.pem"}, {Op: OpRemove, Name: "stale"}}); err != nil {
			t.Fatal(err)
		}
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	prepare(t, dir)
	cmd := exec.Command(strace, "-f", "-y", "-s", "300", "-o", log,
		"-e",
		"trace=openat,write,fsync,fchmod,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,"+
			"mkdir,mkdirat",
		os.Args[0], "-test.run", "^TestSystemCalls$")
	cmd.Env = append(os.Environ(), "DURABLE_STRACE="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "PTRACE") || strings.Contains(string(out), "ptrace") {
			t.Skipf("strace is not permitted here: %s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(`
mkdir .mailcertd 0700
fsync .
create .mailcertd/.host.key.mailcertd 0600
write .mailcertd/.host.key.mailcertd
fsync .mailcertd/.host.key.mailcertd
rename .mailcertd/.host.key.mailcertd .mailcertd/host.key
fsync .mailcertd
symlink .mailcertd/0.0
create .mailcertd/.journal.mailcertd 0600
write .mailcertd/.journal.mailcertd
fsync .mailcertd/.journal.mailcertd
rename .mailcertd/.journal.mailcertd .mailcertd/journal
fsync .mailcertd
rename .mailcertd/host.key host.key
rename .mailcertd/0.0 0.0
fsync .
unlink stale
fsync .
unlink .mailcertd/journal
rmdir .mailcertd`), "\n")
	if diff := cmp.Diff(want, calls(string(data), dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

var (
	callRE     = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += (-?\d+)`)
	pathRE     = regexp.MustCompile(`"(/[^"]*)"|<(/[^>]*)>`)
	unfinished = regexp.MustCompile(`^(\d+) +(.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
)

// calls returns the system calls that succeeded and changed something under dir, in the order in which they ended.
func calls(log, dir string) []string {
	var out []string
	begun := map[string]string{}
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\n")
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = m[2]
			continue
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			line = m[1] + " " + begun[m[1]] + m[2]
		}
		m := callRE.FindStringSubmatch(line)
		if m == nil || m[3] == "-1" {
			continue
		}
		name, args := strings.TrimSuffix(strings.TrimSuffix(m[1], "2"), "at"), m[2]
		var paths []string
		for _, p := range pathRE.FindAllStringSubmatch(args, -1) {
			if rel, err := filepath.Rel(dir, p[1]+p[2]); err == nil && filepath.IsLocal(rel) {
				paths = append(paths, rel)
			}
		}
		switch {
		case len(paths) == 0:
			continue
		case name == "open" && !strings.Contains(args, "O_EXCL"), name == "fchmod":
			continue // it only reads
		case name == "open":
			name = "create"
			paths = append(paths[:1], args[strings.LastIndexByte(args, ' ')+1:])
		case name == "mkdir":
			paths = append(paths[:1], args[strings.LastIndexByte(args, ' ')+1:])
		case name == "unlink" && strings.Contains(args, "AT_REMOVEDIR"):
			name = "rmdir"
		}
		out = append(out, name+" "+strings.Join(paths, " "))
	}
	return out
}
