package oracles

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	argoPage       = "docs/argo-cd.md"
	argoConfig     = "gitops/argocd/argocd-cm.yaml"
	customizations = "gitops/argocd/resource_customizations/ssmready.dev/"
	compliance     = "gitops/argocd/compliance/health.lua"
)

// The kinds that there are scripts and expressions for.
var kinds = []string{"AwsAccount", "VpcPosture", "RegionPosture", "AccountPosture"}

// health is what a script says, in the form of health_test.yaml.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// value is how Argo CD hands an object to a script: numbers of any kind are numbers.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(from)
	case string:
		return lua.LString(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case []any:
		list := state.NewTable()
		for _, item := range from {
			list.Append(value(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		panic(fmt.Sprintf("%T has no form in Lua", from))
	}
}

// run executes a script as Argo CD does one that a user gives it: the libraries package, base and table, and of os only
// time and date; one second.
func run(script string, object map[string]any) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	clock := map[string]lua.LGFunction{
		"time": func(state *lua.LState) int { state.Push(lua.LNumber(time.Now().Unix())); return 1 },
		"date": func(state *lua.LState) int { state.Push(lua.LString(time.Now().Format(time.ANSIC))); return 1 },
	}
	libraries := []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.OsLibName, func(state *lua.LState) int { state.Push(state.RegisterModule(lua.OsLibName, clock)); return 1 }},
	}
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return health{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returned a %s", state.Get(-1).Type())
	}
	said := health{Status: lua.LVAsString(result.RawGetString("status")), Message: lua.LVAsString(result.RawGetString("message"))}
	switch said.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended":
	default:
		return said, fmt.Errorf("%q is no health status", said.Status)
	}
	if said.Message == "" {
		return said, fmt.Errorf("%s without a message", said.Status)
	}
	return said, nil
}

// judge is what Argo CD says of an object: one that is being deleted is not shown to the script.
func judge(t *testing.T, script []byte, object *unstructured.Unstructured) string {
	t.Helper()
	if object.GetDeletionTimestamp() != nil {
		return "Progressing"
	}
	said, err := run(string(script), object.Object)
	if err != nil {
		t.Fatal(err)
	}
	return said.Status
}

func script(t *testing.T, kind string) []byte {
	t.Helper()
	return read(t, customizations+kind+"/health.lua")
}

func TestArgoCdHealth(t *testing.T) {
	stricter := read(t, compliance)
	eachObject(t, func(t *testing.T, golden *unstructured.Unstructured, expected row) {
		if got := judge(t, script(t, golden.GetKind()), golden); got != expected.ArgoCd.Default {
			t.Errorf("the script says %s, expected %s", got, expected.ArgoCd.Default)
		}
		if expected.ArgoCd.Compliance == "" {
			return
		}
		if got := judge(t, stricter, golden); got != expected.ArgoCd.Compliance {
			t.Errorf("the stricter script says %s, expected %s", got, expected.ArgoCd.Compliance)
		}
	})
}

func TestArgoCdHealthOfWhatOurControllerNeverWrites(t *testing.T) {
	scripts := [][]byte{read(t, compliance)}
	for _, kind := range kinds {
		scripts = append(scripts, script(t, kind))
	}
	for _, script := range scripts {
		for _, order := range [][]string{
			{"Ready=False", "Stalled=True", "Reconciling=True"},
			{"Reconciling=True", "Stalled=True", "Ready=False"},
		} {
			if got := judge(t, script, edited(t, "vpcposture-stalled", withConditions(order...))); got != "Degraded" {
				t.Errorf("%v: %s", order, got)
			}
		}
		for name, edit := range map[string]func(map[string]any){
			"no status":      func(object map[string]any) { delete(object, "status") },
			"never observed": func(object map[string]any) { object["status"] = map[string]any{"observedGeneration": int64(-1)} },
			"no conditions":  func(object map[string]any) { delete(object["status"].(map[string]any), "conditions") },
			"Ready is False": withConditions("Ready=False"),
		} {
			if got := judge(t, script, edited(t, "vpcposture-succeeded", edit)); got != "Progressing" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

// The engine has what Argo CD's has, and no more.
func TestTheEngineIsAsNarrowAsArgoCds(t *testing.T) {
	for _, bad := range []string{
		`return { status = string.format("%s", "Healthy"), message = "x" }`,
		`return { status = "Healthy", message = tostring(math.floor(1)) }`,
		`return { status = "Healthy", message = os.getenv("HOME") }`,
		`io.write("x") return { status = "Healthy", message = "x" }`,
		`while true do end`,
		`return { status = "Fine", message = "x" }`,
		`return "Healthy"`,
	} {
		if said, err := run(bad, map[string]any{}); err == nil {
			t.Errorf("%s: %v", bad, said)
		}
	}
	good := `local os = require("os") local list = {} table.insert(list, os.time()) return { status = "Healthy", message = tostring(#list) }`
	if said, err := run(good, map[string]any{}); err != nil || said.Message != "1" {
		t.Errorf("%v, %v", said, err)
	}
}

// A test in the form of Argo CD's own repository.
type healthTest struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

// The folder can be put into Argo CD's repository as it is: the objects in it are the golden ones, and its tests hold
// by its rules, which are that the script sees the object as YAML has it and gives exactly that.
// UPDATE_GOLDEN=1 writes both anew.
func TestArgoCdContribution(t *testing.T) {
	for _, kind := range kinds {
		folder := filepath.Join(repository, customizations, kind)
		prefix := strings.ToLower(kind) + "-"
		wanted := map[string][]byte{}
		var tests []healthTest
		rows := table(t)
		names := make([]string, 0, len(rows))
		for name := range rows {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			state, ours := strings.CutPrefix(name, prefix)
			text := read(t, "tests/fixtures/objects/"+name+".yaml")
			if !ours || object(t, text).GetDeletionTimestamp() != nil {
				continue
			}
			// Without the line that tells where it is from.
			_, text, _ = bytes.Cut(text, []byte("\n"))
			input := "testdata/" + state + ".yaml"
			wanted[input] = text
			var plain map[string]any
			if err := yaml.Unmarshal(text, &plain); err != nil {
				t.Fatal(err)
			}
			said, err := run(string(script(t, kind)), plain)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if said.Status != rows[name].ArgoCd.Default {
				t.Errorf("%s: %s with numbers as YAML has them", name, said.Status)
			}
			tests = append(tests, healthTest{HealthStatus: said, InputPath: input})
		}
		// A kind of which there are no golden objects has nothing to be tested on yet.
		if len(tests) > 0 {
			list, err := yaml.Marshal(map[string]any{"tests": tests})
			if err != nil {
				t.Fatal(err)
			}
			wanted["health_test.yaml"] = list
		}
		if os.Getenv("UPDATE_GOLDEN") != "" && len(tests) > 0 {
			if err := os.RemoveAll(filepath.Join(folder, "testdata")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(folder, "testdata"), 0o755); err != nil {
				t.Fatal(err)
			}
			for path, text := range wanted {
				if err := os.WriteFile(filepath.Join(folder, path), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		wanted["health.lua"] = script(t, kind)
		err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(folder, path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !bytes.Equal(text, wanted[name]) {
				t.Errorf("%s/%s is not as it should be; UPDATE_GOLDEN=1 writes it anew", kind, name)
			}
			delete(wanted, name)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for name := range wanted {
			t.Errorf("%s/%s is not there", kind, name)
		}
	}
}

// The scripts in the settings, and the settings on the page, are the tested ones.
func TestArgoCdSettings(t *testing.T) {
	for _, kind := range kinds {
		if !bytes.Equal(script(t, kind), script(t, "VpcPosture")) {
			t.Errorf("the script of %s differs from the others", kind)
		}
	}
	var settings corev1.ConfigMap
	if err := yaml.UnmarshalStrict(read(t, argoConfig), &settings); err != nil {
		t.Fatal(err)
	}
	if settings.Name != "argocd-cm" || len(settings.Data) != len(kinds) {
		t.Errorf("%s with %d keys", settings.Name, len(settings.Data))
	}
	for _, kind := range kinds {
		if settings.Data["resource.customizations.health.ssmready.dev_"+kind] != string(script(t, kind)) {
			t.Errorf("%s: the script of %s is not its health.lua", argoConfig, kind)
		}
	}
	if !bytes.Contains(read(t, argoPage), append([]byte("```yaml\n"), append(read(t, argoConfig), "```\n"...)...)) {
		t.Errorf("%s does not show %s as it is", argoPage, argoConfig)
	}
}

// What an Application may hold, as far as the page uses it: Argo CD's own types are no library.
type application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Project string `json:"project"`
		Source  struct {
			RepoURL        string `json:"repoURL"`
			Chart          string `json:"chart,omitempty"`
			Path           string `json:"path,omitempty"`
			TargetRevision string `json:"targetRevision"`
			Helm           struct {
				ReleaseName  string         `json:"releaseName"`
				ValuesObject map[string]any `json:"valuesObject"`
			} `json:"helm"`
		} `json:"source"`
		Destination struct {
			Server    string `json:"server"`
			Namespace string `json:"namespace,omitempty"`
		} `json:"destination"`
		SyncPolicy struct {
			Automated struct {
				Prune    bool `json:"prune"`
				SelfHeal bool `json:"selfHeal"`
			} `json:"automated"`
			SyncOptions []string `json:"syncOptions"`
			Retry       struct {
				Limit   int64 `json:"limit"`
				Backoff struct {
					Duration    string `json:"duration"`
					Factor      int64  `json:"factor"`
					MaxDuration string `json:"maxDuration"`
				} `json:"backoff"`
			} `json:"retry"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

func TestArgoCdManifests(t *testing.T) {
	applications := map[string]application{}
	for _, document := range fenced(t, argoPage, "yaml") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		var into any
		var found application
		switch kind.Kind {
		case "ConfigMap":
			into = &corev1.ConfigMap{}
		case "Secret":
			into = &corev1.Secret{}
		case "Application":
			into = &found
		default:
			t.Errorf("%s has a %s, which nobody checks", argoPage, kind.Kind)
			continue
		}
		if err := yaml.UnmarshalStrict(document, into); err != nil {
			t.Errorf("%v in\n%s", err, document)
		}
		applications[found.Name] = found
	}
	install, postures := applications["ssm-ready"].Spec, applications["aws-postures"].Spec
	if install.Source.Chart != "ssm-ready" || install.Source.Helm.ValuesObject["clusterId"] == nil {
		t.Errorf("the chart's application: %+v", install.Source)
	}
	if !strings.Contains(strings.Join(postures.SyncPolicy.SyncOptions, " "), "SkipDryRunOnMissingResource=true") {
		t.Errorf("the postures' options: %v", postures.SyncPolicy.SyncOptions)
	}
}
