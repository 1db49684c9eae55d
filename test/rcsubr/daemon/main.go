// Command daemon takes the place of FreeBSD's daemon(8) in tests on other systems. It knows the options -f, -r, -R
// delay, -P supervisor.pid, -p child.pid and -t title. It locks the pid files, and exits with 3 where one is in use. It
// forwards SIGTERM to the child and does not restart it then. It does not forward SIGHUP.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	flag.Bool("f", false, "stdio to /dev/null")
	again := flag.Bool("r", false, "restart the child")
	delay := flag.Int("R", 1, "seconds until the restart")
	super := flag.String("P", "", "pid file of the supervisor")
	child := flag.String("p", "", "pid file of the child")
	title := flag.String("t", "", "title")
	flag.Parse()
	if os.Getenv("STANDIN_SUPERVISES") == "" {
		os.Exit(background(*title, *super, *child))
	}
	supervise(*super, *child, *again, time.Duration(*delay)*time.Second)
}

// lock opens and locks a pid file; it exits with 3 where another process has locked it.
func lock(path string) *os.File {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		b, _ := os.ReadFile(path)
		fmt.Fprintf(os.Stderr, "daemon: process already running, pid: %s\n", b)
		os.Exit(3)
	}
	return f
}

// background starts this program again, as the supervisor, and waits until the child runs.
func background(title, super, child string) int {
	sf, cf := lock(super), lock(child)
	_ = cf.Truncate(0)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = "daemon: " + title + "[0]"
	cmd.Env = append(os.Environ(), "STANDIN_SUPERVISES=inherited")
	cmd.ExtraFiles = []*os.File{sf, cf} // the locks stay held, as after daemon(8)'s fork
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for range 500 {
		if b, _ := os.ReadFile(child); len(b) > 0 {
			return 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 1
}

func put(f *os.File, pid int) {
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d", pid), 0)
}

func supervise(super, child string, again bool, delay time.Duration) {
	var sf, cf *os.File
	if os.Getenv("STANDIN_SUPERVISES") == "inherited" {
		sf, cf = os.NewFile(3, super), os.NewFile(4, child)
		syscall.CloseOnExec(3)
		syscall.CloseOnExec(4)
	} else {
		sf, cf = lock(super), lock(child)
	}
	put(sf, os.Getpid())
	defer os.Remove(super)
	defer os.Remove(child)
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGHUP)
	for {
		cmd := exec.Command(flag.Arg(0), flag.Args()[1:]...)
		done := make(chan error, 1)
		if err := cmd.Start(); err != nil {
			return
		}
		put(cf, cmd.Process.Pid)
		go func() { done <- cmd.Wait() }()
		for running := true; running; {
			select {
			case s := <-sigs:
				if s == syscall.SIGTERM {
					_ = cmd.Process.Signal(s)
					<-done
					return
				}
			case <-done:
				running = false
			}
		}
		if !again {
			return
		}
		select {
		case <-time.After(delay):
		case s := <-sigs:
			if s == syscall.SIGTERM {
				return
			}
		}
	}
}
