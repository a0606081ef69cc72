package oracles

import (
	"context"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/runtime/conditions"
	"github.com/fluxcd/pkg/runtime/conditions/check"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const fluxPage = "docs/flux.md"

func kstatus(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	result, err := status.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status.String()
}

func TestKstatus(t *testing.T) {
	eachObject(t, func(t *testing.T, golden *unstructured.Unstructured, expected row) {
		if got := kstatus(t, golden); got != expected.Kstatus {
			t.Errorf("kstatus says %s, expected %s", got, expected.Kstatus)
		}
	})
}

// What holds whatever the order of the conditions, and before there is any.
func TestKstatusOfWhatOurControllerNeverWrites(t *testing.T) {
	// The first one counts: so there must never be both.
	for expected, order := range map[string][]string{
		"InProgress": {"Ready=False", "Reconciling=True", "Stalled=True"},
		"Failed":     {"Ready=False", "Stalled=True", "Reconciling=True"},
	} {
		if got := kstatus(t, edited(t, "vpcposture-stalled", withConditions(order...))); got != expected {
			t.Errorf("%v: kstatus says %s, expected %s", order, got, expected)
		}
	}
	// One alone counts before and after Ready.
	for _, order := range [][]string{{"Ready=False", "Stalled=True"}, {"Stalled=True", "Ready=False"}} {
		if got := kstatus(t, edited(t, "vpcposture-stalled", withConditions(order...))); got != "Failed" {
			t.Errorf("%v: kstatus says %s", order, got)
		}
	}
	// Why the status has a default: without one an object that nobody has looked at would be done.
	bare := edited(t, "vpcposture-just-created", func(object map[string]any) { delete(object, "status") })
	if got := kstatus(t, bare); got != "Current" {
		t.Errorf("no status: kstatus says %s", got)
	}
	unseen := edited(t, "vpcposture-succeeded", func(object map[string]any) {
		object["status"] = map[string]any{"observedGeneration": int64(-1)}
	})
	if got := kstatus(t, unseen); got != "InProgress" {
		t.Errorf("never observed: kstatus says %s", got)
	}
}

// The golden files are as they are because the API server fills the default in.
func TestJustCreatedHasTheDefaultStatus(t *testing.T) {
	for _, name := range []string{"vpcposture-just-created", "awsaccount-just-created"} {
		golden := object(t, read(t, "tests/fixtures/objects/"+name+".yaml"))
		seen, found, err := unstructured.NestedInt64(golden.Object, "status", "observedGeneration")
		if err != nil || !found || seen != -1 {
			t.Errorf("%s: observedGeneration is %d, %t, %v", name, seen, found, err)
		}
		if list, _, _ := unstructured.NestedSlice(golden.Object, "status", "conditions"); len(list) != 0 {
			t.Errorf("%s has conditions: %v", name, list)
		}
	}
}

// checked gives the failures and warnings of Flux's condition checkers. Suspended is neither good nor bad.
func checked(which string, object *unstructured.Unstructured) (fail, warn error) {
	var checker *check.Checker
	switch which {
	case "finished":
		checker = check.NewChecker(nil, &check.Conditions{NegativePolarity: []string{"Stalled", "Reconciling"}})
	case "inProgress":
		checker = check.NewInProgressChecker(nil)
	}
	checker.DisableFetch = true
	return checker.Check(context.Background(), conditions.UnstructuredGetter(object))
}

func TestFluxConditionCheckers(t *testing.T) {
	eachObject(t, func(t *testing.T, golden *unstructured.Unstructured, expected row) {
		switch expected.FluxCheck {
		case "finished", "inProgress":
			fail, warn := checked(expected.FluxCheck, golden)
			if fail != nil || warn != nil {
				t.Errorf("%s: failures %v, warnings %v", expected.FluxCheck, fail, warn)
			}
		case "none":
			// Then it must be because nothing was said yet, not because of what was said.
			if fail, _ := checked("finished", golden); fail == nil || !strings.Contains(fail.Error(), "Ready condition must always be present") {
				t.Errorf("none is for objects without Ready, and here it fails with %v", fail)
			}
		default:
			t.Errorf("fluxCheck: %q", expected.FluxCheck)
		}
	})
}

// The checkers see what they are there for.
func TestFluxConditionCheckersCanFail(t *testing.T) {
	for _, bad := range [][]string{
		{"Ready=True", "Stalled=True"},
		{"Ready=False", "Stalled=True", "Reconciling=True"},
		{"Ready=Unknown", "Reconciling=True"},
		{"Ready=False", "Reconciling=False"},
	} {
		fail, warn := checked("finished", edited(t, "vpcposture-succeeded", withConditions(bad...)))
		if fail == nil && warn == nil {
			t.Errorf("%v is fine with the checker", bad)
		}
	}
}

// The documents of the page, by kind, and the expressions that are there instead of the usual ones.
func fluxDocuments(t *testing.T) (kustomizations map[string]kustomizev1.Kustomization, release helmv2.HelmRelease, repository sourcev1.OCIRepository, stricter []kustomize.CustomHealthCheck) {
	t.Helper()
	kustomizations = map[string]kustomizev1.Kustomization{}
	into := func(document []byte, target any) {
		if err := yaml.UnmarshalStrict(document, target); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
	}
	for _, document := range fenced(t, fluxPage, "yaml") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Namespace":
			into(document, &corev1.Namespace{})
		case sourcev1.GroupVersion.String() + " OCIRepository":
			into(document, &repository)
		case helmv2.GroupVersion.String() + " HelmRelease":
			into(document, &release)
		case kustomizev1.GroupVersion.String() + " Kustomization":
			var found kustomizev1.Kustomization
			into(document, &found)
			kustomizations[found.Name] = found
		case " ":
			var fragment struct {
				HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
			}
			into(document, &fragment)
			stricter = fragment.HealthCheckExprs
		default:
			t.Errorf("%s has a %s, which nobody checks", fluxPage, kind.Kind)
		}
	}
	return kustomizations, release, repository, stricter
}

func TestFluxManifests(t *testing.T) {
	kustomizations, release, repository, stricter := fluxDocuments(t)
	install, postures := kustomizations["ssm-ready"], kustomizations["aws-postures"]
	if !install.Spec.Wait || !postures.Spec.Wait {
		t.Error("both Kustomizations are to wait")
	}
	if len(postures.Spec.DependsOn) != 1 || postures.Spec.DependsOn[0].Name != install.Name {
		t.Errorf("postures depend on %v", postures.Spec.DependsOn)
	}
	if release.Spec.ChartRef == nil || release.Spec.ChartRef.Kind != sourcev1.OCIRepositoryKind || release.Spec.ChartRef.Name != repository.Name || release.Namespace != repository.Namespace {
		t.Errorf("the release takes its chart from %v", release.Spec.ChartRef)
	}
	if !strings.HasPrefix(repository.Spec.URL, sourcev1.OCIRepositoryPrefix) {
		t.Errorf("url: %s", repository.Spec.URL)
	}
	if release.GetValues()["clusterId"] == nil {
		t.Error("the release has no clusterId, without which the chart cannot be installed")
	}
	if len(postures.Spec.HealthCheckExprs) != len(kinds) || len(stricter) != 1 {
		t.Fatalf("expressions: %v and %v", postures.Spec.HealthCheckExprs, stricter)
	}
	for i, kind := range kinds {
		expressions := postures.Spec.HealthCheckExprs[i]
		if expressions.Kind != kind || expressions.HealthCheckExpressions != postures.Spec.HealthCheckExprs[0].HealthCheckExpressions {
			t.Errorf("not the same for each kind: %v", expressions)
		}
	}
}

func celVerdict(t *testing.T, checks []kustomize.CustomHealthCheck, object *unstructured.Unstructured) string {
	t.Helper()
	for _, expressions := range checks {
		if expressions.APIVersion != object.GetAPIVersion() || expressions.Kind != object.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&expressions.HealthCheckExpressions)
		if err != nil {
			t.Fatal(err)
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			t.Fatal(err)
		}
		return result.Status.String()
	}
	return ""
}

func TestFluxExpressions(t *testing.T) {
	kustomizations, _, _, stricter := fluxDocuments(t)
	expressions := kustomizations["aws-postures"].Spec.HealthCheckExprs
	eachObject(t, func(t *testing.T, golden *unstructured.Unstructured, expected row) {
		if got := celVerdict(t, expressions, golden); got != expected.FluxCel.Default {
			t.Errorf("the expressions say %s, expected %s", got, expected.FluxCel.Default)
		}
		if got := celVerdict(t, stricter, golden); got != expected.FluxCel.Compliance {
			t.Errorf("the stricter expressions say %s, expected %s", got, expected.FluxCel.Compliance)
		}
	})
	// Both orders, conditions of another generation, and none.
	for _, order := range [][]string{{"Ready=False", "Stalled=True"}, {"Stalled=True", "Ready=False"}} {
		if got := celVerdict(t, expressions, edited(t, "vpcposture-stalled", withConditions(order...))); got != "Failed" {
			t.Errorf("%v: %s", order, got)
		}
	}
	old := edited(t, "vpcposture-succeeded", func(object map[string]any) {
		for _, condition := range object["status"].(map[string]any)["conditions"].([]any) {
			condition.(map[string]any)["observedGeneration"] = int64(0)
		}
	})
	if got := celVerdict(t, expressions, old); got != "InProgress" {
		t.Errorf("conditions of a generation before: %s", got)
	}
	none := edited(t, "vpcposture-succeeded", func(object map[string]any) {
		delete(object["status"].(map[string]any), "conditions")
	})
	if got := celVerdict(t, expressions, none); got != "InProgress" {
		t.Errorf("no conditions: %s", got)
	}
}
