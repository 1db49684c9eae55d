// Command tally runs `go test -json` and prints a summary: a line for each package, the output of every failed test,
// every skipped test with its reason, and the totals. On a terminal it also shows which test is running.
//
//	tally [FLAG...] -- ARGUMENT... [+ ARGUMENT...]
//
// Each group of arguments is one `go test`, such as the tests of another module (-C DIR, which comes first) or those
// without -race. Before them stand variables of its environment (NAME=VALUE), and the word nice where it is to leave
// the processors to the others. All groups run at the same time, because the tests of one often wait for sendmail
// while another can use the processors.
//
// No test has a time limit, because a slow machine would exceed it. Instead tally ends a run in which nothing has
// happened for a while (-stall), and prints the names and the output of the tests that were running.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	stall := flag.Duration("stall", 15*time.Minute, "end the run when nothing has happened for so long; 0: never")
	numbers := flag.String("numbers", "", "the file that gets the line PASSED FAILED SKIPPED")
	flag.Parse()
	var running []*exec.Cmd
	var said []io.Reader
	for _, group := range groups(flag.Args()) {
		cmd, out, err := start(group)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		running, said = append(running, cmd), append(said, out)
	}
	screen, _ := os.Stderr.Stat()
	r := newReport(os.Stdout, screen != nil && screen.Mode()&os.ModeCharDevice != 0)
	r.stall, r.end = *stall, func() {
		for _, cmd := range running {
			end(cmd.Process.Pid)
		}
	}
	err := r.follow(joined(said))
	for _, cmd := range running {
		if werr := cmd.Wait(); werr != nil && r.failed == 0 {
			fmt.Printf("FAIL  %s: %v\n", cmd, werr)
			r.failed++
		}
	}
	if err != nil {
		fmt.Printf("FAIL  reading the output of go test: %v\n", err)
		r.failed++
	}
	if *numbers != "" {
		if err := os.WriteFile(*numbers, fmt.Appendf(nil, "%d %d %d\n", r.passed, r.failed, r.skipped),
			0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	if r.failed > 0 {
		os.Exit(1)
	}
}

// groups splits the arguments at the words "+".
func groups(args []string) (out [][]string) {
	for {
		i := slices.Index(args, "+")
		if i < 0 {
			return append(out, args)
		}
		out, args = append(out, args[:i]), args[i+1:]
	}
}

// start starts the `go test` of a group.
func start(group []string) (*exec.Cmd, io.Reader, error) {
	args, env := []string{"go", "test"}, os.Environ()
	for len(group) > 0 && group[0] != "" && group[0][0] != '-' && strings.Contains(group[0], "=") {
		env, group = append(env, group[0]), group[1:]
	}
	if len(group) > 0 && group[0] == "nice" {
		// By the usual 10, tests that compute would get a tenth of a processor beside any other busy program.
		args, group = append([]string{"nice", "-n", "5"}, args...), group[1:]
	}
	if len(group) > 1 && group[0] == "-C" {
		args, group = append(args, group[:2]...), group[2:]
	}
	args = slices.Concat(args, []string{"-json", "-timeout", "0"}, group)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	return cmd, out, err
}

// joined merges the lines of all readers, in the order in which they come. The lock keeps each line whole.
func joined(all []io.Reader) io.Reader {
	in, out := io.Pipe()
	var reading sync.WaitGroup
	var writing sync.Mutex
	for _, r := range all {
		reading.Go(func() {
			for lines := bufio.NewReader(r); ; {
				line, err := lines.ReadBytes('\n')
				writing.Lock()
				_, _ = out.Write(line) // fails only when the reader has closed the pipe
				writing.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	go func() { reading.Wait(); out.Close() }()
	return in
}

// end makes the test binaries print their goroutines, and then ends all processes that the run started.
func end(pid int) {
	isTest := func(program string) bool { return strings.HasSuffix(program, ".test") }
	signal(pid, syscall.SIGQUIT, isTest)
	time.Sleep(2 * time.Second) // time for printing; no process waits for it
	signal(pid, syscall.SIGKILL, func(string) bool { return true })
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// signal sends sig to every process below pid whose program is wanted, the youngest first.
func signal(pid int, sig syscall.Signal, wanted func(program string) bool) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // each thread has its own list
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for word := range strings.FieldsSeq(string(b)) {
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
