package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// completion returns the command that teaches a shell to complete ours.
func (a *app) completion() *cobra.Command {
	shells := []string{"bash", "fish", "powershell", "zsh"}
	return &cobra.Command{
		Use: "completion <shell>", Short: "Write the script with which a shell completes commands", Args: exactly(1), ValidArgs: shells,
		Long: `Write the script with which a shell completes commands, names and keys. The
shell is bash, fish, powershell or zsh.`,
		Example: `  source <(netctl completion bash)
  netctl completion bash > /etc/bash_completion.d/netctl
  netctl completion fish > ~/.config/fish/completions/netctl.fish
  netctl completion zsh > "${fpath[1]}/_netctl"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Out)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			}
			return &usageError{cmd, fmt.Errorf("shell %q is not one of %q", args[0], shells)}
		},
	}
}
