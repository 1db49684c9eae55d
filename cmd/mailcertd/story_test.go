package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the program says now into testdata/script; read the difference")

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"mailcertd": main}) }

// Each file of testdata/script is a story that a person could type, with what the program really says. In it
//
//	run [STATUS] mailcertd VERB...
//
// starts the program as a process, with the directory that the story is in (cd) as its --root: that is the host. It
// must end with that exit status, or 0. Standard output and standard error come together, as on a terminal, for `cmp
// stdout FILE` and `stdout PATTERN`, without the root and with a word for all that another run would say otherwise.
//
//	mode 600 FILE...	their permissions
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, ContinueOnError: *update, RequireExplicitExec: true,
		RequireUniqueNames: true,
		WorkdirRoot:        shortDir(t),
		Cmds:               map[string]func(*testscript.TestScript, bool, []string){"run": runVerb, "mode": wantMode},
	})
}

// shortDir is a directory whose name is as long everywhere: pages are folded at 80 columns, and roots are in them.
func shortDir(t *testing.T) string {
	t.Helper()
	for {
		dir := fmt.Sprintf("/tmp/m%04d", rand.IntN(10000))
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		case !errors.Is(err, os.ErrExist):
			t.Fatal(err)
		}
	}
}

func runVerb(ts *testscript.TestScript, neg bool, args []string) {
	want := 0
	if n, err := strconv.Atoi(args[0]); err == nil {
		want, args = n, args[1:]
	}
	if neg || len(args) == 0 || args[0] != "mailcertd" {
		ts.Fatalf("usage: run [STATUS] mailcertd VERB...")
	}
	root := ts.MkAbs(".")
	cmd := exec.Command("mailcertd", append([]string{"--root", root}, args[1:]...)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "TZ=UTC", "PWD="+root)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	text := strings.ReplaceAll(string(out), root, "")
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.word)
	}
	_, _ = ts.Stdout().Write([]byte(text))
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func wantMode(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// varying is what differs from one run to the next. The words are as wide where columns follow.
var varying = []struct {
	what *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`\b[0-9A-F]{16}\b`), "SERIAL--SERIAL--"},
	{regexp.MustCompile(`\b20[0-9]{6}T[0-9]{6}Z-[0-9]{2}`), "YYYYMMDDThhmmssZ-NN"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}([.][0-9]+)?Z`), "YYYY-MM-DDThh:mm:ssZ"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2})`), "YYYY-MM-DD hh:mm"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b`), "YYYY-MM-DD"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "DIGEST"},
	{regexp.MustCompile(`(in |\(|  )[0-9]+ (day|month|year)s?\b`), "${1}N ${2}s"},
	{regexp.MustCompile(`\b[0-9]+ (day|month|year)s? left\b`), "N ${1}s left"},
	{regexp.MustCompile(`\[[|=^ -]{20,}\]`), "[BAR]"},
}
