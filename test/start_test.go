package test

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"mailcertd/test/bed"
)

// mostAllocations is the most allocations that the packages of mailcertd may make before main begins. One regular
// expression that is compiled there takes about thirty.
const mostAllocations = 120

// Every command pays for what packages do before main, even if it does not use them.
func TestStartsLean(t *testing.T) {
	cmd := exec.Command(bed.Binary(t, ""), "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all, packages := 0, 0
	for _, m := range regexp.MustCompile(`(?m)^init (main|mailcertd/\S+) .* (\d+) allocs$`).FindAllStringSubmatch(
		string(out), -1) {
		n, _ := strconv.Atoi(m[2])
		all += n
		packages++
		t.Logf("%s: %d", m[1], n)
	}
	if packages < 3 || all > mostAllocations {
		t.Errorf("%d packages allocate %d times before main, want %d at most", packages, all, mostAllocations)
	}
}
