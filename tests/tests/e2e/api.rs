//! The definitions on the real API server: examples, fixtures, what is refused and how, and how it reads.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ssm_ready_tests::{ApiServer, apply_crds, apply_yaml, eventually, repository};

use crate::rig::SOON;

pub fn files(folder: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut files: Vec<_> = std::fs::read_dir(repository().join(folder))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "{folder} is empty");
    Ok(files)
}

pub fn kubectl(server: &ApiServer, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(server.admin_kubeconfig())
        .args(["--cache-dir", &format!("{}.cache", server.admin_kubeconfig().display())])
        .args(arguments)
        .env_remove("KUBECONFIG")
        .output()?;
    let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    Ok((output.status.success(), text))
}

#[tokio::test]
async fn examples_and_fixtures_are_accepted_or_refused_as_they_say() -> Result<()> {
    let server = ApiServer::start().await?;
    let client = server.admin_client()?;
    apply_crds(&client).await?;
    for file in files("examples")?.into_iter().chain(files("tests/fixtures/valid")?) {
        apply_yaml(&client, &std::fs::read_to_string(&file)?).await.with_context(|| file.display().to_string())?;
        // Applied twice: nothing changes, so that GitOps sees no drift.
        let path = file.display().to_string();
        let (same, text) = kubectl(&server, &["diff", "--server-side", "--force-conflicts", "-f", &path])?;
        ensure!(same, "{path} differs from what was stored: {text}");
    }
    for file in files("tests/fixtures/invalid")? {
        let text = std::fs::read_to_string(&file)?;
        let expected =
            text.lines().next().and_then(|l| l.strip_prefix("# refused: ")).context("no expectation")?.to_owned();
        let path = file.display().to_string();
        let (accepted, answer) = kubectl(&server, &["apply", "--server-side=false", "-f", &path])?;
        ensure!(!accepted, "{path} was accepted: {answer}");
        ensure!(answer.contains(&expected), "{path}: expected {expected:?}, got {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn it_explains_itself() -> Result<()> {
    let server = ApiServer::start().await?;
    apply_crds(&server.admin_client()?).await?;
    // The API server publishes a new definition's schema a moment after it serves its objects.
    let text = eventually(SOON, "the schema to be published", || async {
        let (good, text) = kubectl(&server, &["explain", "vpcposture.spec", "--recursive"])?;
        ensure!(good, "{text}");
        Ok(text)
    })
    .await?;
    for field in [
        "target",
        "mode",
        "interval",
        "suspend",
        "capabilities",
        "endpoints",
        "securityGroup",
        "deletionPolicy",
        "attributes",
    ] {
        ensure!(text.contains(field), "no {field}: {text}");
    }
    for (path, says) in [
        ("vpcposture.spec.mode", "Observe"),
        ("awsaccount.spec.access", "namespace"),
        ("vpcp.spec.endpoints.unusedFor", "24h"),
    ] {
        eventually(SOON, format_args!("the schema of {path} to be published"), || async {
            let (good, text) = kubectl(&server, &["explain", path])?;
            ensure!(good && text.contains(says), "{path}: {text}");
            Ok(())
        })
        .await?;
    }
    let (good, text) = kubectl(&server, &["get", "ssmready", "-A"])?;
    ensure!(good, "the category is not known: {text}");
    Ok(())
}
