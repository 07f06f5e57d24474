package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"netctl/network/link"
	"netctl/test/lab"
)

// TestScript runs the scripts in test/script, each with a daemon of its own on
// a host of its own. Besides the usual commands there are:
//
//	host CMD...        runs CMD on the host of the daemon
//	until [!] CMD...   repeats an exec or host command until it does (not) succeed
//	daemon SIGNAL      stops the daemon with a signal and starts it again
//	boot               starts the daemon again as after a boot of the host
//	stopped            waits until the daemon has ended by itself
//
// The commands netctl, lxc and curl find the daemon by themselves. WEB, DB and VM
// are names for instances.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../script", UpdateScripts: os.Getenv("UPDATE") != "", RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			l := lab.New(&scriptTB{env: env}, "curl")
			d := l.NS("host").Netctld()
			env.Values["daemon"] = d
			env.Defer(d.Settled)
			for _, v := range d.Env() {
				k, val, _ := strings.Cut(v, "=")
				env.Setenv(k, val)
			}
			env.Setenv("SOCKET", filepath.Join(d.Dir, "unix.socket"))
			env.Setenv("DIR", d.Dir)
			for _, name := range []string{"web", "db", "vm"} {
				env.Setenv(strings.ToUpper(name), l.Instance(name))
			}
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host": hostCmd, "until": untilCmd, "daemon": daemonCmd, "boot": bootCmd, "stopped": stoppedCmd,
		},
	})
}

// A scriptTB lets a script have a lab.
type scriptTB struct {
	env *testscript.Env
}

func (s *scriptTB) Helper()                      {}
func (s *scriptTB) Cleanup(f func())             { s.env.Defer(f) }
func (s *scriptTB) Logf(f string, args ...any)   { s.env.T().Log(fmt.Sprintf(f, args...)) }
func (s *scriptTB) Fatalf(f string, args ...any) { s.env.T().Fatal(fmt.Sprintf(f, args...)) }
func (s *scriptTB) Failed() bool                 { return false }
func (s *scriptTB) TempDir() string              { return s.env.WorkDir }

func daemonOf(ts *testscript.TestScript) *lab.Netctld { return ts.Value("daemon").(*lab.Netctld) }

func hostCmd(ts *testscript.TestScript, neg bool, args []string) {
	out, err := daemonOf(ts).NS.Try(args[0], args[1:]...)
	fmt.Fprint(ts.Stdout(), out)
	if (err != nil) != neg {
		ts.Fatalf("host %s: unexpected result: %v", strings.Join(args, " "), err)
	}
}

func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("write until ! CMD")
	}
	if args[0] == "!" {
		neg, args = true, args[1:]
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var err error
		if args[0] == "host" {
			_, err = daemonOf(ts).NS.Try(args[1], args[2:]...)
		} else {
			err = ts.Exec(args[0], args[1:]...)
		}
		if (err != nil) == neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("until %s: %v", strings.Join(args, " "), err)
		}
	}
}

func daemonCmd(ts *testscript.TestScript, _ bool, args []string) {
	daemonOf(ts).Restart(map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT}[args[0]])
}

// bootCmd stops the daemon, takes its links away and makes it believe that what
// it remembers is of another boot.
func bootCmd(ts *testscript.TestScript, _ bool, _ []string) {
	d := daemonOf(ts)
	d.Stop(syscall.SIGTERM)
	ts.Check(ts.Exec("sqlite3", filepath.Join(d.Dir, "netctl.db"), `UPDATE objects SET value = '{"id":"another"}' WHERE key GLOB '/boot/*'`))
	d.NS.Run("ip", "link", "delete", "group", fmt.Sprint(link.Group))
	d.Start()
	d.WaitReady()
}

func stoppedCmd(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(daemonOf(ts).Proc.Wait(20 * time.Second))
}
