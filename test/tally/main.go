// Command tally runs `go test -json` with the given arguments and tells how it goes: a line for each package, the
// output of every failed test, every skipped test with its reason, and the numbers. A terminal also sees what runs
// just now.
//
// No test has a limit by the clock, which a slow machine would run into. Instead a run in which nothing has happened
// for a while (-stall) is ended, and the tests that were running are named with their output.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	stall := flag.Duration("stall", 15*time.Minute, "end the run when nothing has happened for so long; 0: never")
	dir := flag.String("C", ".", "the module's directory")
	numbers := flag.String("numbers", "", "the file that gets the line PASSED FAILED SKIPPED")
	flag.Parse()
	cmd := exec.Command("go", append([]string{"test", "-json", "-timeout", "0"}, flag.Args()...)...)
	cmd.Dir, cmd.Stderr = *dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	screen, _ := os.Stderr.Stat()
	r := newReport(os.Stdout, screen != nil && screen.Mode()&os.ModeCharDevice != 0)
	r.stall, r.end = *stall, func() { end(cmd.Process.Pid) }
	err = r.follow(out)
	if werr := cmd.Wait(); werr != nil && r.failed == 0 {
		fmt.Printf("FAIL  go test: %v\n", werr)
		r.failed++
	}
	if err != nil {
		fmt.Printf("FAIL  reading what go test says: %v\n", err)
		r.failed++
	}
	if *numbers != "" {
		if err := os.WriteFile(*numbers, fmt.Appendf(nil, "%d %d %d\n", r.passed, r.failed, r.skipped), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	if r.failed > 0 {
		os.Exit(1)
	}
}

// end makes the test binaries print where they are, and then ends everything that the run started.
func end(pid int) {
	isTest := func(program string) bool { return strings.HasSuffix(program, ".test") }
	signal(pid, syscall.SIGQUIT, isTest)
	time.Sleep(2 * time.Second) // they print for people; nothing waits for it
	signal(pid, syscall.SIGKILL, func(string) bool { return true })
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// signal reaches every process below pid whose program is wanted, the youngest first.
func signal(pid int, sig syscall.Signal, wanted func(program string) bool) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // each thread has its own
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, word := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			signal(child, sig, wanted)
			if program, _ := os.Readlink("/proc/" + word + "/exe"); wanted(program) {
				_ = syscall.Kill(child, sig)
			}
		}
	}
}
