using System;
using System.Collections.Generic;
using NpcEngine;
using UnityEngine;

/// <summary>
/// Shows a character's lines one after the other, letter by letter. It draws nothing itself: wire OnShown
/// to whatever shows a text (Text.text, TMP_Text.text), a text field's OnSubmit to Submit and its
/// OnValueChanged to Typing, a button to Next. A player who submits before the character has finished
/// cuts in, and the character knows how far it was heard.
/// </summary>
[AddComponentMenu("NPC Engine/Dialogue Box")]
public sealed class NpcDialogueBox : MonoBehaviour
{
    /// <summary>Whose lines are shown.</summary>
    public NpcCharacterBehaviour Speaker;

    /// <summary>How fast they come.</summary>
    public float LettersPerSecond = 40;

    /// <summary>How long a whole line stays when another one waits.</summary>
    public float PauseSeconds = 1;

    /// <summary>What is to be seen now.</summary>
    public NpcTextEvent OnShown = new NpcTextEvent();

    [NonSerialized]
    private readonly Queue<NpcLine> _next = new Queue<NpcLine>();

    [NonSerialized]
    private NpcCharacterBehaviour _heard;

    [NonSerialized]
    private NpcLine _line;

    [NonSerialized]
    private float _letters;

    [NonSerialized]
    private float _pause;

    [NonSerialized]
    private bool _isCut;

    /// <summary>Whether the player has not seen all of what was said.</summary>
    public bool IsShowing => _line != null && (Letters < _line.Text.Length || _next.Count > 0);

    private int Letters => Mathf.FloorToInt(_letters);

    /// <summary>Turns to another character; what was not shown of the one before counts as not heard.</summary>
    /// <param name="speaker">The other, or null.</param>
    public void TurnTo(NpcCharacterBehaviour speaker)
    {
        CutIn();
        Leave();
        Speaker = speaker;
        if (isActiveAndEnabled)
        {
            Listen();
        }
    }

    /// <summary>The player says something.</summary>
    /// <param name="text">What; nothing is done with an empty one.</param>
    public void Submit(string text)
    {
        if (Speaker == null || string.IsNullOrEmpty(text))
        {
            return;
        }
        CutIn();
        Speaker.Say(text);
    }

    /// <summary>The player types: the character reads along, so that it answers sooner.</summary>
    /// <param name="text">The line so far.</param>
    public void Typing(string text)
    {
        if (Speaker != null && !string.IsNullOrEmpty(text))
        {
            Speaker.Hear(text);
        }
    }

    /// <summary>The player is faster than the letters: shows the whole line, or the next one.</summary>
    public void Next()
    {
        if (_line == null)
        {
            return;
        }
        if (Letters < _line.Text.Length)
        {
            Show(_line.Text.Length);
        }
        else if (_next.Count > 0)
        {
            Begin(_next.Dequeue());
        }
    }

    private void OnEnable() => Listen();

    private void OnDisable() => Leave();

    private void Update()
    {
        if (_line == null)
        {
            return;
        }
        if (Letters < _line.Text.Length)
        {
            Show(_letters + (LettersPerSecond * Time.unscaledDeltaTime));
        }
        else if (_next.Count > 0)
        {
            _pause += Time.unscaledDeltaTime;
            if (_pause >= PauseSeconds)
            {
                Begin(_next.Dequeue());
            }
        }
    }

    private void Listen()
    {
        if (Speaker != null)
        {
            _heard = Speaker;
            _isCut = false;
            _heard.LineSpoken += Take;
        }
    }

    private void Leave()
    {
        if (!ReferenceEquals(_heard, null))
        {
            _heard.LineSpoken -= Take;
            _heard = null;
        }
        Clear();
    }

    private void Take(NpcLine line)
    {
        if (_isCut && line.Index > 0)
        {
            return;  // it was on its way when the player cut in
        }
        _isCut = false;
        if (_line == null || (line.Index == 0 && !IsShowing))
        {
            Begin(line);
        }
        else
        {
            _next.Enqueue(line);
        }
    }

    private void Begin(NpcLine line)
    {
        _line = line;
        _pause = 0;
        _letters = 0;
        OnShown.Invoke("");
    }

    private void Show(float letters)
    {
        int shown = Letters;
        _letters = Mathf.Min(letters, _line.Text.Length);
        if (Letters != shown)
        {
            OnShown.Invoke(_line.Text.Substring(0, Letters));
        }
    }

    private void CutIn()
    {
        if (IsShowing && Speaker != null)
        {
            Speaker.InterruptAt(_line.HeardAt(Letters));
            _isCut = true;
        }
        Clear();
    }

    private void Clear()
    {
        _line = null;
        _letters = 0;
        _next.Clear();
    }
}
